// The way back: every structured layer as the matrix that it is in evaluation, so that the model is an ordinary dense
// checkpoint again. What was left out stays out.

import { denseWeight, joinConvolution, layersOf, replaceLayer } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import { dense } from "../structures/dense.ts";

/**
 * Changes the model in place; its evaluation output stays the same up to rounding.
 * @returns names of the layers that were structured
 */
export function exportDense(model: Model): string[] {
  const structured = [...model.layers.values()].filter(({ structure }) => structure.name !== "dense");
  const { mode } = model.masks;
  // Evaluation drops blocks of one sample, which training keeps.
  model.masks.mode = "eval";
  try {
    for (const { name } of structured) replaceLayer(model, name, dense, { weight: denseWeight(model, name) });
    // What was taken apart to be structured is whole again.
    for (const info of layersOf(model.architecture, model.config)) {
      if (!model.layers.has(info.name)) joinConvolution(model, info);
    }
  } finally {
    if (mode === undefined) delete model.masks.mode;
    else model.masks.mode = mode;
  }
  return structured.map(({ name }) => name);
}
