// What a model costs as it is: multiply-adds of its structured layers and of the whole, counted as architectures count.

import type { Counts, LayerCosts } from "../structures/counting/count.ts";
import type { Model } from "./model.ts";

/** Multiply-adds a row of each layer that is not dense. */
export async function layerCosts(model: Model): Promise<LayerCosts> {
  const costs: Record<string, number> = {};
  for (const [name, { structure }] of model.layers) {
    if (structure.name !== "dense") costs[name] = await structure.cost(model.structureParameters(name));
  }
  return costs;
}

/** Of the whole model, as the reference counts and as it runs. */
export async function modelCounts(model: Model): Promise<Counts> {
  return model.architecture.count(model.config, await layerCosts(model));
}
