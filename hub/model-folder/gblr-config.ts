// Parses and checks the "gblr" part of config.json, which describes structured layers. All other fields of config.json
// belong to the architecture and are not used here.

import { z } from "zod";
import { quote } from "../files/file-error.ts";
import { type Dtype, scanJson } from "../safetensors/index.ts";
import { isJsonObject, jsonOrUndefined, versionProblem } from "../text/json.ts";
import { ModelError } from "./layer-tensors.ts";
import { MOST_SIDE, MOST_VALUES, STORED_GBLR, storedNames, storedStructure } from "./structures.ts";

/** Version of the "gblr" part of a model whose structured layers are float32. */
export const FORMAT = 1;
/** Version of a model whose structured layers may be in half precision. */
export const HALF_FORMAT = 2;
/** Version of a model of which any tensors may be 8-bit integers with scales, see safetensors/int8.ts. */
export const INT8_FORMAT = 3;
/** Newer versions are rejected. */
const FORMATS: readonly number[] = [FORMAT, HALF_FORMAT, INT8_FORMAT];

const FLOAT_TYPES: readonly Dtype[] = ["F32"];
const HALF_TYPES: readonly Dtype[] = ["F32", "F16", "BF16"];

/** The settings of one structured layer in config.json. */
export interface LayerConfig {
  structure: string;
  nIn: number;
  nOut: number;
  /** K, including dead blocks; GBLR only */
  blocks?: number;
  /** of a convolution: rows and columns */
  kernel?: readonly [number, number];
  /** of a convolution */
  stride?: number;
  /** types that its tensors may have */
  types: readonly Dtype[];
  /** shapes of its tensors in model.safetensors, by parameter */
  shapes?: Readonly<Record<string, readonly number[]>>;
}

/** The `gblr` part of config.json, checked. */
export interface GblrConfig {
  /** smoothness of the masks, if they have a Gaussian */
  sigma?: number;
  /** whether tensors may be 8-bit integers with scales. Default false */
  hasInt8?: boolean;
  /** of a model of several sizes: the smallest and the largest share. Its record is checked when it is cut */
  sizes?: readonly [number, number];
  layers: ReadonlyMap<string, LayerConfig>;
}

// Messages state requirements, `must be …`. `checked` appends the actual value.
const count = (least: number, most = MOST_VALUES) => {
  const error = `must be a whole number from ${least}`;
  return z
    .int({ error })
    .min(least, { error })
    .max(most, { error: `must be at most ${most}` });
};
const structure = z.string({ error: () => amongStructures() }).refine((name) => storedNames().includes(name), {
  error: () => amongStructures(),
});
const amongStructures = () => `must be one of ${storedNames().join(", ")}`;
const number = z.number({ error: "must be a number" });
const positiveError = { error: "must be a positive number" };
const positive = z.number(positiveError).positive(positiveError);
const float32Error = { error: "must be a positive number that float32 holds" };
/** A positive normal number of float32, because engines store it in a float32 tensor. */
const inFloat32 = z
  .number(float32Error)
  .min(2 ** -126, float32Error)
  .max((2 - 2 ** -23) * 2 ** 127, float32Error);
const text = z.string({ error: "must be text" });
const object = { error: "must be an object" };

const layerSchema = z.object(
  {
    structure: structure.optional(),
    n_in: count(1, MOST_SIDE),
    n_out: count(1, MOST_SIDE),
    blocks: count(0).optional(),
    kernel: z.tuple([count(1), count(1)], { error: "must be two whole numbers, rows and columns" }).optional(),
    stride: count(1).optional(),
    shapes: z
      .record(z.string(), z.array(count(0), { error: "must be a list of whole numbers" }), {
        error: "must map tensors to their shapes",
      })
      .optional(),
  },
  object,
);

const images = z.object(
  {
    size: count(1),
    mean: z.array(number, { error: "must be a list of numbers" }),
    std: z.array(positive, { error: "must be a list of positive numbers" }),
    interpolation: text,
    crop_share: positive,
    crop_mode: text,
  },
  object,
);

const partSchema = z.object(
  {
    structure: structure.default(STORED_GBLR.name),
    sigma: inFloat32.optional(),
    base_model: text.optional(),
    relative_flops: z.object({ reference: number.nonnegative(), actual: number.nonnegative() }, object).optional(),
    images: images.optional(),
    // Only cuts use the record, so that a broken one breaks nothing else.
    sizes: z
      .object({ sizes: z.array(z.number()).min(1) })
      .optional()
      .catch(undefined),
    // Checked one by one in `layerOf`, so that errors name the layer.
    layers: z.custom<Record<string, unknown>>(isJsonObject, object),
  },
  object,
);

/**
 * Parses the "gblr" part of a config.json.
 * @param text content of config.json
 * @param file its name in errors
 * @returns undefined for a dense model, without a "gblr" part
 * @throws ModelError when it is not a JSON object, or a rule of the "gblr" part is broken
 */
export function parseGblrConfig(text: string, file: string): GblrConfig | undefined {
  const fail = (problem: string, layer?: string) =>
    new ModelError(problem, { file, ...(layer !== undefined && { layer }) });
  const json = jsonOrUndefined(text);
  if (!isJsonObject(json)) throw fail("is not a JSON object");
  const { gblr, model_type: type } = json;
  if (gblr === undefined) {
    if (typeof type === "string" && type.startsWith("gblr_"))
      throw fail(`"gblr" is missing, model_type is ${quote(type)}`);
    return undefined;
  }
  if (!isJsonObject(gblr)) throw fail('"gblr" must be an object');
  // Checked first, because another version may have other fields.
  const format = FORMATS.find((known) => known === gblr.format);
  if (format === undefined) {
    throw fail(`"gblr.format" ${versionProblem(FORMATS, gblr.format)}`);
  }
  const { duplicate } = scanJson(text);
  if (duplicate) throw fail(`${quote(duplicate.at(-1) as string)} appears twice`);
  const part = checked(partSchema, gblr, (path, problem) => fail(`"gblr.${path}" ${problem}`));
  const { sigma, structure } = part;
  const types = format >= HALF_FORMAT ? HALF_TYPES : FLOAT_TYPES;
  const hasInt8 = format >= INT8_FORMAT;
  const layers = new Map(
    Object.entries(part.layers).map(([name, value]) => [
      name,
      { ...layerOf(value, structure, (text) => fail(text, name)), types },
    ]),
  );
  if (layers.size === 0 && !hasInt8) throw fail('"gblr.layers" must name a layer; a dense model has no "gblr"');
  const all = part.sizes?.sizes;
  const sizes = all && ([all[0] as number, all.at(-1) as number] as const);
  return { ...(sigma !== undefined && { sigma }), ...(hasInt8 && { hasInt8 }), ...(sizes && { sizes }), layers };
}

function layerOf(value: unknown, structure: string, fail: (problem: string) => ModelError): Omit<LayerConfig, "types"> {
  const fields = checked(layerSchema, value, (path, problem) => fail(path === "" ? problem : `${path} ${problem}`));
  const { n_in: nIn, n_out: nOut, blocks, kernel, stride, shapes } = fields;
  const own = fields.structure ?? structure;
  if (storedStructure(own)?.isPacked && blocks === undefined)
    throw fail("blocks must be a whole number from 0, is missing");
  if (nIn * nOut > MOST_VALUES) throw fail(`n_in · n_out must be at most ${MOST_VALUES}, is ${nIn} · ${nOut}`);
  if (blocks !== undefined && blocks > nIn * nOut) {
    throw fail(`blocks must be at most n_in · n_out, ${nIn * nOut}, is ${blocks}`);
  }
  if ((blocks ?? 0) * Math.max(nIn, nOut) > MOST_VALUES) {
    throw fail(`blocks · max(n_in, n_out) must be at most ${MOST_VALUES}, is ${blocks} · ${Math.max(nIn, nOut)}`);
  }
  if (kernel && nIn % (kernel[0] * kernel[1]) !== 0) {
    throw fail(`kernel must divide n_in ${nIn} into channels, is ${kernel.join(" × ")}`);
  }
  return {
    structure: own,
    nIn,
    nOut,
    ...(blocks !== undefined && { blocks }),
    ...(kernel && { kernel }),
    ...(stride !== undefined && { stride }),
    ...(shapes && { shapes }),
  };
}

/** @param fail called with the path of the first invalid field, its requirement and its value */
function checked<T>(schema: z.ZodType<T>, value: unknown, fail: (path: string, problem: string) => ModelError): T {
  const found = schema.safeParse(value);
  if (found.success) return found.data;
  const [issue] = found.error.issues as [z.core.$ZodIssue];
  let at: unknown = value;
  for (const step of issue.path) at = (at as Record<PropertyKey, unknown> | undefined)?.[step];
  throw fail(issue.path.map(String).join("."), `${issue.message}, is ${shown(at)}`);
}

function shown(value: unknown): string {
  // JSON has no infinite numbers, but very long ones are parsed as infinite.
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value === undefined ? "missing" : quote(JSON.stringify(value)).slice(1, -1);
}
