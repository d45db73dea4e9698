// The layers of models as counting sees them: names and sizes. Shared pieces of gpt2.ts, vit.ts and resnet.ts.

import type { LayerCosts } from "../../architectures/count.ts";
import { EngineError } from "../../engine/core/errors.ts";
import type { MatrixSize } from "../budget.ts";

export interface LinearLayer extends MatrixSize {
  /** by the checkpoint's name, without `.weight` */
  name: string;
}

export interface ConvolutionLayer extends LinearLayer {
  /** rows and columns of the kernel are alike */
  kernel: number;
  stride: number;
  /** rows and columns of its input are alike, and those of its output */
  inputSide: number;
  outputSide: number;
}

/** Multiply-adds that the reference's counter takes for each entry that a layer normalization sees. */
export const LAYER_NORM_PER_ENTRY = 5;
/** Of a batch normalization: one scale, one shift. */
export const BATCH_NORM_PER_ENTRY = 2;

/** Multiply-adds a row. */
export const denseRow = ({ nOut, nIn }: MatrixSize): number => nOut * nIn;

/** Multiply-adds an output position. */
export const densePosition = ({ nOut, nIn, kernel }: ConvolutionLayer): number => kernel ** 2 * nIn * nOut;

/** @throws EngineError when there is a cost for a layer that the model does not have */
export function expectLayers(model: string, costs: LayerCosts, layers: readonly LinearLayer[]): void {
  const names = new Set(layers.map(({ name }) => name));
  const unknown = Object.keys(costs).find((name) => !names.has(name));
  if (unknown !== undefined) {
    throw new EngineError(
      `${model} has no layer "${unknown}": there are ${names.size}, from ${layers[0]?.name} to ${layers.at(-1)?.name}`,
      "give costs by the names of its layers",
    );
  }
}
