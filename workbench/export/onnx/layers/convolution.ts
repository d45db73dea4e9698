// Convolutions by standard operators. A structured convolution is one with the kernel of the first factor, and 1×1
// convolutions with the others. Kernels that were converted position by position are put together.

import type { Tensor } from "@tensorflow/tfjs-core";
import type { ConvolutionInfo } from "../../../architectures/network.ts";
import { sourceOf, turnedSource } from "../../../models/folder/tensor-sources.ts";
import type { Graph, Value } from "../graph.ts";
import { concat, matMul, reshape, transpose } from "../operators.ts";
import { factorsOf, type ReadLayer } from "./factors.ts";

/** A convolution: one layer, or one for each position of its kernel, row by row. */
export interface ConvolutionParts {
  parts: readonly ReadLayer[];
  geometry: ConvolutionInfo;
  bias: Value | undefined;
}

/** How a kernel moves. */
type Movement = Pick<ConvolutionInfo, "stride" | "padding">;

const STILL: Movement = { stride: 1, padding: 0 };

/**
 * The convolution of x, plus the bias.
 * @param x float32 (batch, channels, height, width)
 */
export function convolutionOf(g: Graph, x: Value, { parts, geometry, bias }: ConvolutionParts): Value {
  const kernels = kernelsOf(g, parts, geometry);
  return kernels.reduce((y, { kernel, movement }, i) => {
    const { stride, padding } = movement;
    const inputs = i === kernels.length - 1 && bias !== undefined ? [y, kernel, bias] : [y, kernel];
    return g.op("Conv", inputs, { strides: [stride, stride], pads: [padding, padding, padding, padding] });
  }, x);
}

/** Convolutions to apply one after the other, with kernels (n_out, channels, rows, columns). */
function kernelsOf(
  g: Graph,
  parts: readonly ReadLayer[],
  geometry: ConvolutionInfo,
): { kernel: Value; movement: Movement }[] {
  const [rows, columns] = geometry.kernel;
  const [{ layer, held }] = parts as readonly [ReadLayer];
  if (held.structure.needsConvolution) return tuckerKernels(g, parts[0] as ReadLayer, geometry);
  if (held.structure.isDense && layer.convolution) {
    const kernel = turnedSource(`${layer.name}.weight`, held.parameters.weight as Tensor, [3, 2, 0, 1]);
    return [{ kernel: g.weights(kernel), movement: geometry }];
  }
  const all = parts.map((part) => factorsOf(g, part));
  const matrices = all.map((factors) => factors.reduce((product, factor) => matMul(g, product, factor)));
  const [first, ...others] = all.length === 1 ? (all[0] as Value[]) : [concat(g, matrices, 0)];
  const channels = layer.nIn / (parts.length === 1 ? rows * columns : 1);
  return [
    { kernel: kernelOf(g, first as Value, [rows, columns, channels, -1]), movement: geometry },
    ...others.map((matrix, i) => {
      const isLast = i === others.length - 1;
      return { kernel: kernelOf(g, matrix, [1, 1, -1, isLast ? layer.nOut : -1]), movement: STILL };
    }),
  ];
}

/** A matrix whose rows are (rows, columns, channels) as a kernel. */
const kernelOf = (g: Graph, matrix: Value, shape: readonly number[]): Value =>
  transpose(g, reshape(g, matrix, shape), [3, 2, 0, 1]);

/** A 1×1 convolution to fewer channels, one between these, and a 1×1 convolution to the outputs. */
function tuckerKernels(g: Graph, { layer, held }: ReadLayer, geometry: ConvolutionInfo) {
  const [input, core, output] = ["input", "core", "output"].map((part) => {
    const tensor = held.parameters[part] as Tensor;
    const name = `${layer.name}.${part}`;
    if (tensor.rank === 4) return g.weights(turnedSource(name, tensor, [3, 2, 0, 1]));
    const matrix = g.weights(sourceOf(name, tensor));
    return kernelOf(g, matrix, [1, 1, ...tensor.shape]);
  }) as [Value, Value, Value];
  return [
    { kernel: input, movement: STILL },
    { kernel: core, movement: geometry },
    { kernel: output, movement: STILL },
  ];
}
