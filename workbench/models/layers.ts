// Replaces the structure of a layer, and computes its dense matrix. A convolution can be split into one linear layer
// per position of its kernel, and joined again.

import { clone, keep, type Tensor, type Tensor2D, type Tensor4D, tidy, transpose } from "@tensorflow/tfjs-core";
import { type ConvolutionInfo, type LayerInfo, positionLayers } from "../architectures/network.ts";
import { EngineError } from "../engine/core/errors.ts";
import { heldInFloat32 } from "../engine/ops/index.ts";
import { kernelOf, kernelOfPositions, matrixOf, matrixOfPosition } from "../structures/convolution.ts";
import { dense } from "../structures/dense.ts";
import type { Structure, StructureParameters } from "../structures/structure.ts";
import type { LinearLayer, Model } from "./model.ts";
import { replaceEntries, rowByRow, variableOf } from "./variables.ts";

/**
 * Replaces the structure and parameters of a layer, in place. Disposes of the old parameters and of the given tensors;
 * the bias is kept. New parameters take the place of the old ones in the model's order. A GBLR layer uses the mask
 * settings of the model.
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
    throw new EngineError(
      `layer "${layerName}" cannot become ${held.name}: parameter ${missing} is missing`,
      "give all parameters",
    );
  }
  const { isTrainable = true, fixed = [] } = held;
  const old = layer.structure.parameterNames.map((name) => `${layerName}.${name}`);
  const added = held.parameterNames.map((name) => {
    const values = parameters[name] as Tensor;
    const laid = held.isDense ? asHeld(layer, values as Tensor2D) : clone(values);
    values.dispose();
    return [
      `${layerName}.${name}`,
      variableOf(rowByRow(laid), { trainable: isTrainable && !fixed.includes(name) }),
    ] as const;
  });
  for (const name of old) model.parameters.get(name)?.dispose();
  replaceEntries(model.parameters, old, added);
  model.layers.set(layerName, { ...layer, structure: held });
}

/** A matrix (n_out, n_in) in the layout of a dense layer of the model. */
export function asHeld({ layout, convolution }: LinearLayer, matrix: Tensor2D): Tensor {
  if (convolution) return kernelOf(matrix, convolution);
  return layout === "in_out" ? transpose(matrix) : clone(matrix);
}

/**
 * The current matrix of a layer; for a convolution, the matrix of patches.
 * @returns float32 (n_out, n_in); the caller disposes of it
 */
export function denseWeight<Config>(model: Model<Config>, layerName: string): Tensor2D {
  const { structure, layout, convolution } = model.layer(layerName);
  return tidy(() => {
    const parameters = model.structureParameters(layerName);
    if (!structure.isDense) return keep(structure.dense(parameters));
    const { weight } = parameters as { weight: Tensor };
    if (convolution) return keep(matrixOf(weight as Tensor4D));
    return keep(layout === "in_out" ? transpose(weight) : heldInFloat32(weight)) as Tensor2D;
  });
}

/**
 * Splits a dense convolution X into dense layers `X.0`, `X.1`, … (n_out, channels), in place. The bias stays `X.bias`.
 * @throws EngineError when the layer is not a convolution or not dense
 */
export function splitConvolution<Config>(model: Model<Config>, name: string): void {
  const layer = model.layer(name);
  const positions = positionLayers(layer);
  if (positions.length === 0 || !layer.structure.isDense) {
    const is = positions.length === 0 ? "a linear layer" : layer.structure.name;
    throw new EngineError(`${name} is ${is}`, "only dense convolutions can be split");
  }
  const weight = model.parameter(`${name}.weight`);
  const kernel = weight as unknown as Tensor4D;
  const variables = positions.map(({ name: own }, index) => {
    const matrix = rowByRow(matrixOfPosition(kernel, index));
    return [`${own}.weight`, variableOf(matrix, { trainable: weight.trainable })] as const;
  });
  replaceEntries(model.parameters, [`${name}.weight`], variables);
  weight.dispose();
  const layers = positions.map((position) => [position.name, { ...position, structure: dense }] as const);
  replaceEntries<LinearLayer>(model.layers, [name], layers);
}

/**
 * The inverse of `splitConvolution`, for positions in any structure; the kernel has their current matrices.
 * @param info description of the whole convolution
 */
export function joinConvolution<Config>(model: Model<Config>, info: LayerInfo): void {
  const { name } = info;
  const positions = model.positionsOf(name);
  const matrices = positions.map((position) => denseWeight(model, position.name));
  const kernel = rowByRow(tidy(() => kernelOfPositions(matrices, info.convolution as ConvolutionInfo)));
  for (const matrix of matrices) matrix.dispose();
  const old = positions.flatMap((layer) => layer.structure.parameterNames.map((part) => `${layer.name}.${part}`));
  for (const parameter of old) model.parameter(parameter).dispose();
  replaceEntries(model.parameters, old, [[`${name}.weight`, variableOf(kernel)]]);
  const names = positions.map((position) => position.name);
  replaceEntries<LinearLayer>(model.layers, names, [[name, { ...info, structure: dense }]]);
}
