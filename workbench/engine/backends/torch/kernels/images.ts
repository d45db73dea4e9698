// Resizing of images (batch, height, width, channels). Interpolation is the product with one matrix for the rows and
// one for the columns. Its gradient is the product with their transposes.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import type { Handle } from "../addon.ts";
import { aten } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import type { Attributes, KernelTable } from "../register.ts";
import { upload } from "./creation.ts";

const reshape = aten("reshape");
const product = aten("matmul");
const indexSelect = aten("index_select");
const flip = aten("flip");
const cast = aten("to", "dtype");

interface Sampling {
  alignCorners: boolean;
  halfPixelCenters: boolean;
}

/** Source position of an output sample, as TensorFlow maps it. */
function sourcePosition(out: number, from: number, to: number, { alignCorners, halfPixelCenters }: Sampling): number {
  const scale = alignCorners && to > 1 ? (from - 1) / (to - 1) : from / to;
  return halfPixelCenters ? (out + 0.5) * scale - 0.5 : out * scale;
}

/** Weights (to, from) of linear interpolation along one axis. */
function bilinearWeights(from: number, to: number, sampling: Sampling): Float32Array {
  const weights = new Float32Array(to * from);
  for (let out = 0; out < to; out++) {
    const position = sourcePosition(out, from, to, sampling);
    const low = Math.max(0, Math.floor(position));
    const high = Math.min(from - 1, Math.ceil(position));
    const share = position - low;
    weights[out * from + low] = (weights[out * from + low] as number) + 1 - share;
    weights[out * from + high] = (weights[out * from + high] as number) + share;
  }
  return weights;
}

/** Weights (to, from) with a single 1 in each row. */
function nearestWeights(from: number, to: number, sampling: Sampling): Float32Array {
  const weights = new Float32Array(to * from);
  for (let out = 0; out < to; out++) weights[out * from + nearest(out, from, to, sampling)] = 1;
  return weights;
}

function nearest(out: number, from: number, to: number, { alignCorners, halfPixelCenters }: Sampling): number {
  const scale = alignCorners && to > 1 ? (from - 1) / (to - 1) : from / to;
  const position = scale * (halfPixelCenters ? out + 0.5 : out);
  // Ties round up, as in TensorFlow.
  const sample = alignCorners ? Math.floor(position + 0.5) : Math.floor(position);
  return Math.max(0, Math.min(from - 1, sample));
}

function transposed(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(matrix.length);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) result[c * rows + r] = matrix[r * columns + c] as number;
  return result;
}

/** rows (h', h) · x (batch, h, w, c) · columns (w', w)ᵀ */
function separable(
  x: TensorInfo,
  rows: { matrix: Float32Array; size: number },
  columns: { matrix: Float32Array; size: number },
  backend: TorchBackend,
): Handle {
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const down = upload(rows.matrix, [rows.size, height], "float32", backend);
  const across = upload(columns.matrix, [columns.size, width], "float32", backend);
  try {
    const input = x.dtype === "float32" ? x : cast(x, "float32");
    const tall = product(down, reshape(input, [batch, height, width * channels]));
    const wide = product(across, reshape(tall, [batch * rows.size, width, channels]));
    return reshape(wide, [batch, rows.size, columns.size, channels]);
  } finally {
    backend.disposeData(down.dataId);
    backend.disposeData(across.dataId);
  }
}

type Weights = (from: number, to: number, sampling: Sampling) => Float32Array;

function gradient(
  images: TensorInfo,
  dy: TensorInfo,
  weights: Weights,
  sampling: Sampling,
  backend: TorchBackend,
): Handle {
  const [, height, width] = images.shape as [number, number, number, number];
  const [, outHeight, outWidth] = dy.shape as [number, number, number, number];
  const back = (from: number, to: number) => ({
    matrix: transposed(weights(from, to, sampling), to, from),
    size: from,
  });
  return separable(dy, back(height, outHeight), back(width, outWidth), backend);
}

function resizeNearest(images: TensorInfo, { size, ...sampling }: Attributes, backend: TorchBackend): Handle {
  return (size as [number, number]).reduce<TensorInfo | Handle>((image, to, i) => {
    const from = images.shape[i + 1] as number;
    const positions = Int32Array.from({ length: to }, (_, out) => nearest(out, from, to, sampling as Sampling));
    const index = upload(positions, [to], "int32", backend);
    const resized = indexSelect(image, i + 1, index);
    backend.disposeData(index.dataId);
    return resized;
  }, images) as Handle;
}

export const images: KernelTable = {
  ResizeBilinear: ({ images: x }, { size, ...sampling }, backend) => {
    const source = x;
    const axis = (i: 0 | 1) => {
      const from = source.shape[i + 1] as number;
      return { matrix: bilinearWeights(from, size[i], sampling as Sampling), size: size[i] as number };
    };
    return separable(source, axis(0), axis(1), backend);
  },
  ResizeBilinearGrad: ({ images: x, dy }, sampling, backend) => gradient(x, dy, bilinearWeights, sampling, backend),
  ResizeNearestNeighbor: ({ images: x }, attrs, backend) => resizeNearest(x, attrs, backend),
  ResizeNearestNeighborGrad: ({ images: x, dy }, sampling, backend) =>
    gradient(x, dy, nearestWeights, sampling, backend),
  FlipLeftRight: ({ image }) => flip(image, [2]),
};
