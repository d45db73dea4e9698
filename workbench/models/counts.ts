// Counts the multiply-adds of a model by both counts of count.ts, with the cost of each structured layer. A convolution
// that is split into positions counts as one layer.

import { countModel, layersOf } from "../architectures/architecture.ts";
import type { Counts, LayerCosts } from "../architectures/count.ts";
import { type LayerInfo, positionLayers } from "../architectures/network.ts";
import type { Model } from "./model.ts";

/** Multiply-adds per row of each layer that is not dense. */
async function layerCosts(model: Model): Promise<LayerCosts> {
  const costs: Record<string, number> = {};
  for (const [name, { structure }] of model.layers) {
    if (!structure.isDense) costs[name] = await structure.cost(model.structureParameters(name));
  }
  return costs;
}

/** Multiply-adds of the whole model by both counts. */
export async function modelCounts(model: Model): Promise<Counts> {
  return countsWith(model, await layerCosts(model));
}

/**
 * Parameters of all layers that can be converted, without biases: those that inference needs, and those of the same
 * layers when dense. Live blocks of a layer with widths, and the entries that pruning has kept, are as many as their
 * multiply-adds per row; integers, such as the places of packed blocks, do not count.
 */
export async function linearParameters(model: Model): Promise<{ parameters: number; dense: number }> {
  let [parameters, dense] = [0, 0];
  for (const [name, { nIn, nOut, structure }] of model.layers) {
    const held = model.structureParameters(name);
    const numbers = Object.values(held).filter(({ dtype }) => dtype !== "int32");
    dense += nIn * nOut;
    const isCounted = structure.hasWidths || structure.keepsZeros;
    parameters += isCounted ? await structure.cost(held) : numbers.reduce((sum, { size }) => sum + size, 0);
  }
  return { parameters, dense };
}

/**
 * Multiply-adds of the whole model by both counts, if its layers have these costs and all others are dense.
 * @param costs multiply-adds per row, also of single positions of convolutions
 */
export function countsWith<Config>({ architecture, config, layers }: Model<Config>, costs: LayerCosts): Counts {
  const isWhole = Object.keys(costs).every((name) => layers.has(name) && !layers.get(name)?.position);
  return countModel(architecture, config, isWhole ? costs : wholeCosts(layersOf(architecture, config), costs));
}

/** Adds up the costs of positions to the costs of their convolutions. Positions without a cost are dense. */
function wholeCosts(layers: readonly LayerInfo[], costs: LayerCosts): LayerCosts {
  const found: Record<string, number> = { ...costs };
  for (const layer of layers) {
    const positions = positionLayers(layer);
    if (positions.every(({ name }) => costs[name] === undefined)) continue;
    found[layer.name] = positions.reduce((sum, { name, nIn, nOut }) => sum + (costs[name] ?? nIn * nOut), 0);
    for (const { name } of positions) delete found[name];
  }
  return found;
}
