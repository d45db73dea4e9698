// Changes how a layer of a model is held, and reads its matrix however it is held.

import { clone, keep, slice, type Tensor, type Tensor2D, tidy, transpose } from "@tensorflow/tfjs-core";
import { EngineError } from "../engine/errors.ts";
import { gblrStructure } from "../structures/gblr.ts";
import type { Structure, StructureParameters } from "../structures/structure.ts";
import type { Model } from "./model.ts";
import { variableOf } from "./variables.ts";

/**
 * Holds a layer in another structure from now on. The old parameters are disposed and the new ones taken over, their
 * tensors disposed; the bias stays. Parameters keep their place among the model's. A GBLR layer follows the model's
 * masks, whatever settings the structure was made with.
 * @throws EngineError when the model has no such layer, or a parameter is missing
 */
export function replaceLayer<Config>(
  model: Model<Config>,
  layerName: string,
  structure: Structure,
  parameters: StructureParameters,
): void {
  const layer = model.layer(layerName);
  const held = structure.name === "gblr" ? gblrStructure(model.masks) : structure;
  const missing = held.parameterNames.find((name) => parameters[name] === undefined);
  if (missing !== undefined) {
    throw new EngineError(`layer "${layerName}" is to be ${held.name}: ${missing} is missing`, "give all parameters");
  }
  const trainable = held.name !== "packed";
  const old = layer.structure.parameterNames.map((name) => `${layerName}.${name}`);
  const entries = [...model.parameters];
  const at = entries.findIndex(([name]) => name === old[0]);
  const added = held.parameterNames.map((name) => {
    const values = parameters[name] as Tensor;
    // Dense matrices lie in the model as the checkpoint has them, in structures as (n_out, n_in).
    const turned = held.name === "dense" && layer.layout === "in_out" ? transpose(values) : clone(values);
    values.dispose();
    return [`${layerName}.${name}`, variableOf(laidOut(turned), { trainable })] as const;
  });
  const others = entries.filter(([name]) => !old.includes(name));
  for (const name of old) model.parameters.get(name)?.dispose();
  model.parameters.clear();
  for (const [name, variable] of [...others.slice(0, at), ...added, ...others.slice(at)]) {
    model.parameters.set(name, variable);
  }
  model.layers.set(layerName, { ...layer, structure: held });
}

/**
 * The matrix of a layer as it multiplies now.
 * @returns float32 (n_out, n_in), the caller's to dispose
 */
export function denseWeight<Config>(model: Model<Config>, layerName: string): Tensor2D {
  const { structure, layout } = model.layer(layerName);
  return tidy(() => {
    const parameters = model.structureParameters(layerName);
    const matrix = structure.dense(parameters);
    return keep(structure.name === "dense" && layout === "in_out" ? transpose(matrix) : matrix) as Tensor2D;
  });
}

/**
 * A copy whose values lie row by row, as those of a loaded parameter do. Engines compute on views such as transposes
 * too, but in another order: a model would not give the same bits after it is saved and loaded.
 */
function laidOut(values: Tensor): Tensor {
  const start = values.shape.map(() => 0);
  const copy = tidy(() => slice(values, start, values.shape));
  values.dispose();
  return copy;
}
