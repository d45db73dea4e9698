// A convolution taken apart into one linear layer for each position of its kernel, and put together again: "per kernel"
// convolutions are structured position by position.

import { type Tensor4D, tidy } from "@tensorflow/tfjs-core";
import { type ConvolutionInfo, type LayerInfo, positionLayers } from "../architectures/network.ts";
import { EngineError } from "../engine/core/errors.ts";
import { kernelOfPositions, matrixOfPosition } from "../structures/convolution.ts";
import { dense } from "../structures/dense.ts";
import { denseWeight } from "./layers.ts";
import type { LinearLayer, Model } from "./model.ts";
import { replaceEntries, rowByRow, variableOf } from "./variables.ts";

/**
 * Holds a dense convolution as dense matrices `X.0`, `X.1`, … (n_out, channels) from now on; its bias stays `X.bias`.
 * @throws EngineError when the layer is no convolution, or not dense
 */
export function splitConvolution<Config>(model: Model<Config>, name: string): void {
  const layer = model.layer(name);
  const positions = positionLayers(layer);
  if (positions.length === 0 || !layer.structure.isDense) {
    const is = positions.length === 0 ? "a linear layer" : layer.structure.name;
    throw new EngineError(`${name} is ${is}`, "only dense convolutions can be taken apart");
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
 * The inverse, whatever the positions are held as; they come out as they multiply now.
 * @param info of the whole convolution
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
