// What config.json says about structured layers: its "gblr" part, checked. Everything else in config.json belongs to
// the model's architecture and is not looked at.

import { quote } from "../file-error.ts";
import { parseJson } from "../json.ts";
import { ModelError } from "./errors.ts";

export interface LayerConfig {
  /** as the structures are named, e.g. `gblr` */
  structure: string;
  nIn: number;
  nOut: number;
  /** K, live or not; other structures have none */
  blocks?: number;
  /** of a convolution. Default 1 */
  stride?: number;
}

export interface GblrConfig {
  /** of the masks, where they have a Gaussian */
  sigma?: number;
  layers: ReadonlyMap<string, LayerConfig>;
}

/**
 * @param text a whole config.json
 * @param file what errors call it
 * @returns undefined when there is no "gblr" in it: the model is dense
 * @throws ModelError when it is no JSON object, or a rule of the "gblr" part is broken
 */
export function parseGblrConfig(text: string, file: string): GblrConfig | undefined {
  const fail = (problem: string, layer?: string) => new ModelError(problem, { file, ...(layer && { layer }) });
  const { gblr } = objectOr(parsed(text), () => fail("is not a JSON object"));
  if (gblr === undefined) return undefined;
  const part = objectOr(gblr, () => fail('"gblr" must be an object'));
  const { structure = "gblr", sigma } = part;
  if (typeof structure !== "string") throw fail('"gblr.structure" must be a name');
  if (sigma !== undefined && !(typeof sigma === "number" && sigma > 0)) {
    throw fail(`"gblr.sigma" must be a positive number, is ${shown(sigma)}`);
  }
  const layers = new Map<string, LayerConfig>();
  for (const [name, value] of Object.entries(objectOr(part.layers, () => fail('"gblr.layers" must be an object')))) {
    layers.set(
      name,
      layerOf(
        objectOr(value, () => fail("must be an object", name)),
        { structure, name, file },
      ),
    );
  }
  return { ...(sigma !== undefined && { sigma }), layers };
}

function layerOf(
  fields: Record<string, unknown>,
  { structure, name: layer, file }: { structure: string; name: string; file: string },
): LayerConfig {
  const count = (key: string, least: number): number => {
    const value = fields[key];
    if (Number.isSafeInteger(value) && (value as number) >= least) return value as number;
    throw new ModelError(`${key} must be a whole number from ${least}, is ${shown(value)}`, { file, layer });
  };
  const own = fields.structure ?? structure;
  if (typeof own !== "string") throw new ModelError("structure must be a name", { file, layer });
  const needsBlocks = own === "gblr" || fields.blocks !== undefined;
  return {
    structure: own,
    nIn: count("n_in", 1),
    nOut: count("n_out", 1),
    ...(needsBlocks && { blocks: count("blocks", 0) }),
    ...(fields.stride !== undefined && { stride: count("stride", 1) }),
  };
}

function parsed(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

function objectOr(value: unknown, fail: () => ModelError): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw fail();
}

function shown(value: unknown): string {
  return value === undefined ? "missing" : quote(JSON.stringify(value)).slice(1, -1);
}
