// How many rows go through each layer in one pass of a model, read off the architecture's own count: what a multiply-add
// a row of that layer is worth in the whole. No tensors.

import type { LayerInfo } from "../architectures/architecture.ts";
import type { Counts } from "../architectures/count.ts";
import { countsWith } from "./counts.ts";
import type { Model } from "./model.ts";

/** `reference`: as published tables count; 0 for layers that they leave dense whatever those are. */
export type CountKind = keyof Counts;

/** By layer name. */
export function rowsThrough(model: Model, layers: readonly LayerInfo[], kind: CountKind): Map<string, number> {
  return new Map(
    layers.map(({ name, nIn, nOut }) => {
      const dense = nIn * nOut;
      // From half to all, not from 0: counts leave out what a layer of cost 0 makes unreachable. Nor from what the dense
      // model counts: published tables take the rows of a structured layer elsewhere.
      const [all, half] = [dense, dense / 2].map((cost) => countsWith(model, { [name]: cost })[kind].total);
      return [name, Math.round(((all as number) - (half as number)) / (dense / 2))];
    }),
  );
}
