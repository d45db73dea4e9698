// Convolutions whose kernel is a structured matrix: either one matrix (n_out, rows · columns · channels) with one row
// per output channel, or one matrix (n_out, channels) per position of the kernel.

import {
  clone,
  concat,
  conv2d,
  pad,
  reshape,
  slice,
  stack,
  stridedSlice,
  type Tensor,
  type Tensor2D,
  type Tensor4D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import type { ConvolutionGeometry, HeldMatrix } from "./structure.ts";

/** A matrix (n_out, rows · columns · channels) as a TensorFlow.js kernel, (rows, columns, channels, n_out). */
export function kernelOf(matrix: Tensor2D, { kernel: [rows, columns] }: Pick<ConvolutionGeometry, "kernel">): Tensor4D {
  const [nOut, nIn] = matrix.shape;
  return tidy(() => reshape(transpose(matrix), [rows, columns, nIn / (rows * columns), nOut]));
}

/** The inverse of `kernelOf`. */
export function matrixOf(kernel: Tensor4D): Tensor2D {
  return tidy(() => transpose(reshape(kernel, [-1, kernel.shape[3]]) as Tensor2D));
}

/**
 * The convolution of x with the kernel of a layer in any structure.
 * @param x float32 (batch, height, width, channels)
 * @returns float32 (batch, height', width', n_out), differentiable in x and all parameters
 */
export function convolve(x: Tensor4D, { structure, parameters }: HeldMatrix, geometry: ConvolutionGeometry): Tensor4D {
  return tidy(() => {
    if (structure.convolve) return structure.convolve(parameters, x, geometry);
    const { stride, padding } = geometry;
    return conv2d(x, kernelOf(structure.dense(parameters), geometry), stride, padding);
  });
}

/** The kernel that consists of one matrix (n_out, channels) per position, row by row. */
export function kernelOfPositions(
  matrices: readonly Tensor2D[],
  { kernel: [rows, columns] }: Pick<ConvolutionGeometry, "kernel">,
): Tensor4D {
  return tidy(() => {
    const all = stack(matrices.map((matrix) => transpose(matrix)));
    return reshape(all, [rows, columns, all.shape[1] as number, all.shape[2] as number]);
  });
}

/** The matrix (n_out, channels) of one position. */
export function matrixOfPosition(kernel: Tensor4D, index: number): Tensor2D {
  const [, columns, nIn, nOut] = kernel.shape;
  const start = [Math.floor(index / columns), index % columns, 0, 0];
  return tidy(() => transpose(reshape(slice(kernel, start, [1, 1, nIn, nOut]), [nIn, nOut])) as Tensor2D);
}

/**
 * The inputs that each position of the kernel is multiplied with, one tensor per position, row by row.
 * @param x float32 (batch, height, width, channels)
 * @returns one tensor per position, float32 (batch, height', width', channels)
 */
export function inputsOfPositions(
  x: Tensor4D,
  { kernel: [rows, columns], stride, padding }: ConvolutionGeometry,
): Tensor4D[] {
  // A 1×1 convolution is a linear layer over the positions.
  if (rows === 1 && columns === 1 && stride === 1 && padding === 0) return [clone(x)];
  return tidy(() => {
    const around: [number, number] = [padding, padding];
    const padded = pad(x, [[0, 0], around, around, [0, 0]]);
    const [batch, height, width, channels] = padded.shape;
    const [down, across] = [Math.floor((height - rows) / stride), Math.floor((width - columns) / stride)];
    return Array.from({ length: rows * columns }, (_, index) => {
      const [top, left] = [Math.floor(index / columns), index % columns];
      const end = [batch, top + down * stride + 1, left + across * stride + 1, channels];
      return stridedSlice(padded, [0, top, left, 0], end, [1, stride, stride, 1]) as Tensor4D;
    });
  });
}

/** The inputs of all positions, concatenated: (batch, height', width', rows · columns · channels). */
export const patchesUnder = (x: Tensor4D, geometry: ConvolutionGeometry): Tensor =>
  tidy(() => concat(inputsOfPositions(x, geometry), 3));
