// Changes how a layer of a model is held, and reads its matrix however it is held.

import { clone, keep, type Tensor, type Tensor2D, type Tensor4D, tidy, transpose } from "@tensorflow/tfjs-core";
import { EngineError } from "../engine/core/errors.ts";
import { kernelOf, matrixOf } from "../structures/convolution.ts";
import type { Structure, StructureParameters } from "../structures/structure.ts";
import type { LinearLayer, Model } from "./model.ts";
import { replaceEntries, rowByRow, variableOf } from "./variables.ts";

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
  const held = structure.forLayer?.(layer, model.masks) ?? structure;
  const missing = held.parameterNames.find((name) => parameters[name] === undefined);
  if (missing !== undefined) {
    throw new EngineError(`layer "${layerName}" is to be ${held.name}: ${missing} is missing`, "give all parameters");
  }
  const { isTrainable: trainable = true } = held;
  const old = layer.structure.parameterNames.map((name) => `${layerName}.${name}`);
  const added = held.parameterNames.map((name) => {
    const values = parameters[name] as Tensor;
    const laid = held.isDense ? asHeld(layer, values as Tensor2D) : clone(values);
    values.dispose();
    return [`${layerName}.${name}`, variableOf(rowByRow(laid), { trainable })] as const;
  });
  for (const name of old) model.parameters.get(name)?.dispose();
  replaceEntries(model.parameters, old, added);
  model.layers.set(layerName, { ...layer, structure: held });
}

/** A matrix (n_out, n_in) as a dense layer has it in the model. */
export function asHeld({ layout, convolution }: LinearLayer, matrix: Tensor2D): Tensor {
  if (convolution) return kernelOf(matrix, convolution);
  return layout === "in_out" ? transpose(matrix) : clone(matrix);
}

/**
 * The matrix of a layer as it multiplies now; of a convolution that of the patches under its kernel.
 * @returns float32 (n_out, n_in), the caller's to dispose
 */
export function denseWeight<Config>(model: Model<Config>, layerName: string): Tensor2D {
  const { structure, layout, convolution } = model.layer(layerName);
  return tidy(() => {
    const parameters = model.structureParameters(layerName);
    if (!structure.isDense) return keep(structure.dense(parameters));
    const { weight } = parameters as { weight: Tensor };
    if (convolution) return keep(matrixOf(weight as Tensor4D));
    return keep(layout === "in_out" ? transpose(weight) : clone(weight)) as Tensor2D;
  });
}
