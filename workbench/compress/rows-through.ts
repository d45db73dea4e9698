// How many rows go through each layer in one pass of a model, read off the architecture's own count: what a multiply-add
// a row of that layer is worth in the whole. No tensors.

import type { LayerInfo } from "../models/architecture.ts";
import type { Model } from "../models/model.ts";
import type { Counts } from "../structures/counting/count.ts";

/** `reference`: as published tables count; 0 for layers that they leave dense whatever those are. */
export type CountKind = keyof Counts;

/** By layer name. */
export function rowsThrough(model: Model, layers: readonly LayerInfo[], kind: CountKind): Map<string, number> {
  const { architecture, config } = model;
  const whole = architecture.count(config, {})[kind].total;
  return new Map(
    layers.map(({ name, nIn, nOut }) => {
      // Half, not 0: counts leave out what a layer of cost 0 makes unreachable.
      const half = (nIn * nOut) / 2;
      const total = architecture.count(config, { [name]: half })[kind].total;
      return [name, Math.round((whole - total) / half)];
    }),
  );
}
