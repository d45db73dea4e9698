// Models of several sizes: the record of their sizes, and the cut to one of them.

import { CONFIG_FILE, ModelError, SIZES_VERSION, type SizesRecord, sizesOf } from "../../../hub/model-folder/index.ts";
import { isJsonObject } from "../../../hub/text/json.ts";
import { namesOf } from "../../architectures/architecture.ts";
import { EngineError, ShapeError } from "../../engine/core/errors.ts";
import { replaceLayer } from "../../models/index.ts";
import type { LinearLayer, Model } from "../../models/model.ts";
import type { NestedMatrix } from "../../structures/structure.ts";
import type { Conversion } from "../convert.ts";
import type { ConversionPlan } from "../plan.ts";
import { ranksWithin } from "./walk.ts";

export type { SizesRecord } from "../../../hub/model-folder/index.ts";

/** The record of a converted model; undefined if it has one size. */
export function sizesRecord(model: Model, { sizes }: ConversionPlan, { layers }: Conversion): SizesRecord | undefined {
  if (!sizes) return undefined;
  const { storedName } = namesOf(model.architecture);
  return {
    version: SIZES_VERSION,
    sizes: [...sizes],
    layers: Object.fromEntries(
      layers.map(({ name, ranks = [] }) => [storedName(name, model.prefix), ranks.map((own) => [...own])]),
    ),
  };
}

/**
 * Cuts a model of several sizes to one of them, in place.
 * @param keep share of the parameters that the layers of the record have when dense; the layers keep at most this many
 * @param options.file the config.json, in errors
 * @param options.record the sizes of the model. Default those in its config.json
 * @throws ModelError when the model has one size, or its record breaks a rule; EngineError when the size is outside the
 *   range
 */
export async function cutModel(
  model: Model,
  keep: number,
  { file = CONFIG_FILE, record = sizesOf(model.json, file) }: { file?: string; record?: SizesRecord | undefined } = {},
): Promise<void> {
  const [least, most] = [record.sizes[0] as number, record.sizes.at(-1) as number];
  if (!(keep >= least && keep <= most)) {
    throw new EngineError(`the model has sizes from ${least} to ${most}, not ${keep}`, "give --keep in this range");
  }
  const layers = await openedLayers(model, record, file);
  const dense = layers.reduce((sum, { layer: { nIn, nOut } }) => sum + nIn * nOut, 0);
  const kept = ranksWithin(layers, Math.floor(keep * dense * (1 + 1e-12)));
  for (const [i, { layer, nested }] of layers.entries()) {
    const { structure, parameters } = await nested.cut(kept[i] as number[]);
    replaceLayer(model, layer.name, structure, parameters);
  }
  const json = withoutSizes(model.json);
  model.json = { ...json, gblr: { ...(json.gblr as object | undefined), budget: keep } };
}

/** The content of config.json without the record of sizes. */
export function withoutSizes(json: Model["json"]): Model["json"] {
  if (!isJsonObject(json.gblr)) return json;
  const { sizes: _, ...gblr } = json.gblr;
  return { ...json, gblr };
}

interface OpenedLayer {
  layer: LinearLayer;
  ranks: number[][];
  nested: NestedMatrix;
  cost(ranks: readonly number[]): number;
}

/** The layers of a record, by their names, so that all readers have them in the same order. */
async function openedLayers(model: Model, { layers }: SizesRecord, file: string): Promise<OpenedLayer[]> {
  const { storedName } = namesOf(model.architecture);
  // transformers adds a prefix to the names of tensors, but not to those in config.json.
  const byName = new Map(
    ["", model.prefix].flatMap((prefix) =>
      [...model.layers.values()].map((layer) => [storedName(layer.name, prefix), layer] as const),
    ),
  );
  const found: OpenedLayer[] = [];
  for (const [stored, ranks] of Object.entries(layers).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const layer = byName.get(stored);
    if (!layer?.structure.nestedMatrix) {
      throw new ModelError('"gblr.sizes" lists it, but the model has no such layer that can be cut', {
        file,
        layer: stored,
      });
    }
    try {
      const nested = await layer.structure.nestedMatrix(model.structureParameters(layer.name), ranks);
      found.push({ layer, ranks, nested, cost: (own) => nested.cost(own) });
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      throw new ModelError(error.message, { file, layer: stored }, { cause: error });
    }
  }
  return found;
}
