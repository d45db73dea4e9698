// The record of a model of several sizes, `gblr.sizes` in config.json: the sizes, and for each layer the ranks of its
// tiles at each of them (docs/format.md). Readers that cut a model use it; others ignore it.

import { z } from "zod";
import { quote } from "../files/file-error.ts";
import { isJsonObject } from "../text/json.ts";
import { ModelError } from "./layer-tensors.ts";
import { MOST_SIDE } from "./structures.ts";

/** Version of the record. */
export const SIZES_VERSION = 1;

/** The sizes of a model and of its layers. */
export interface SizesRecord {
  version: number;
  /** shares of the parameters of the layers when dense, rising */
  sizes: number[];
  /** by layer, as config.json names it: the ranks of its tiles at each size */
  layers: Record<string, number[][]>;
}

const MOST_TILES = 64;

const share = z.number().gt(0).max(1);
const rank = z.int().min(0).max(MOST_SIDE);
const layerSchema = z.array(z.array(rank).min(1).max(MOST_TILES));

/**
 * Reads the record of a config.json.
 * @param json the content of config.json
 * @param file its name in errors
 * @throws ModelError when there is none, or it breaks a rule
 */
export function sizesOf(json: Readonly<Record<string, unknown>>, file: string): SizesRecord {
  const fail = (problem: string) => new ModelError(problem, { file });
  const { gblr } = json;
  const found = isJsonObject(gblr) ? gblr.sizes : undefined;
  if (found === undefined) {
    throw fail('has no "gblr.sizes", so that the model has one size; make one with `gblr convert --sizes 0.2..0.8`');
  }
  if (!isJsonObject(found)) throw fail('"gblr.sizes" must be an object');
  if (found.version !== SIZES_VERSION) {
    throw fail(
      `"gblr.sizes.version" must be ${SIZES_VERSION}, is ${quote(JSON.stringify(found.version) ?? "missing").slice(1, -1)}`,
    );
  }
  const sizes = z.array(share).min(1).safeParse(found.sizes);
  if (!sizes.success || !isRising(sizes.data)) {
    throw fail('"gblr.sizes.sizes" must be rising numbers above 0 and at most 1');
  }
  const { layers } = found;
  if (!isJsonObject(layers) || Object.keys(layers).length === 0) throw fail('"gblr.sizes.layers" must name a layer');
  return {
    version: SIZES_VERSION,
    sizes: sizes.data,
    layers: Object.fromEntries(
      Object.entries(layers).map(([name, value]) => [name, ranksOf(value, sizes.data.length, { file, layer: name })]),
    ),
  };
}

const isRising = (values: readonly number[]): boolean =>
  values.every((value, i) => i === 0 || value > (values[i - 1] as number));

function ranksOf(value: unknown, sizes: number, place: { file: string; layer: string }): number[][] {
  const levels = layerSchema.safeParse(value);
  if (!levels.success || levels.data.length !== sizes) {
    throw new ModelError(
      `sizes must have ${sizes} lists of ranks, whole numbers from 0, one list for each size`,
      place,
    );
  }
  const [first = [], ...others] = levels.data;
  let before = first;
  for (const own of others) {
    if (own.length !== first.length || own.some((rank, tile) => rank < (before[tile] as number))) {
      throw new ModelError("the ranks of its sizes must have the same number of tiles, and none may fall", place);
    }
    before = own;
  }
  return levels.data;
}
