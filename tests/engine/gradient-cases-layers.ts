// Gradient cases of products, convolutions, pooling, normalization and resizing; see gradient-cases.ts.

import * as tf from "@tensorflow/tfjs-core";
import { type GradientCase, of } from "./gradient-case.ts";

const asImages = (x: tf.Tensor) => x as tf.Tensor4D;
const asVolumes = (x: tf.Tensor) => x as tf.Tensor5D;

export const LAYER_CASES: readonly GradientCase[] = [
  { kernel: tf.BatchMatMul, inputs: [of([2, 3, 4]), of([2, 5, 4])], compute: (a, b) => tf.matMul(a, b, false, true) },
  {
    kernel: tf.Conv2D,
    inputs: [of([2, 7, 6, 3]), of([3, 2, 3, 4])],
    compute: (x, filter) => tf.conv2d(asImages(x), asImages(filter), [2, 2], "same"),
  },
  {
    kernel: tf.Conv2DBackpropInput,
    inputs: [of([2, 4, 3, 4]), of([3, 2, 3, 4])],
    compute: (x, filter) => tf.conv2dTranspose(asImages(x), asImages(filter), [2, 7, 6, 3], [2, 2], "same"),
  },
  {
    kernel: tf.Conv3D,
    inputs: [of([1, 4, 5, 4, 2]), of([2, 3, 2, 2, 3])],
    compute: (x, filter) => tf.conv3d(asVolumes(x), asVolumes(filter), [1, 2, 1], "same"),
  },
  {
    kernel: tf.DepthwiseConv2dNative,
    inputs: [of([2, 6, 5, 3]), of([3, 2, 3, 2])],
    compute: (x, filter) => tf.depthwiseConv2d(asImages(x), asImages(filter), [2, 2], "same"),
  },
  {
    kernel: tf.Dilation2D,
    inputs: [of([1, 5, 4, 2]), of([2, 3, 2])],
    compute: (x, filter) => tf.dilation2d(asImages(x), filter as tf.Tensor3D, [1, 1], "same", [1, 1]),
  },
  {
    kernel: tf.FusedBatchNorm,
    inputs: [of([2, 3, 4, 5]), of([5]), of([5], 0.5, 2), of([5]), of([5], 0.5, 2)],
    compute: (x, mean, variance, offset, scale) =>
      tf.batchNorm(x, mean as tf.Tensor1D, variance as tf.Tensor1D, offset as tf.Tensor1D, scale as tf.Tensor1D, 1e-3),
  },
  {
    kernel: tf.AvgPool,
    inputs: [of([2, 6, 5, 3])],
    compute: (x) => tf.avgPool(asImages(x), [2, 3], [2, 1], "same"),
  },
  {
    kernel: tf.AvgPool3D,
    inputs: [of([1, 4, 5, 4, 2])],
    compute: (x) => tf.avgPool3d(asVolumes(x), [2, 3, 2], [2, 1, 2], "valid"),
  },
  {
    kernel: tf.MaxPool,
    inputs: [of([2, 6, 5, 3])],
    compute: (x) => tf.maxPool(asImages(x), [2, 3], [2, 1], "same"),
  },
  {
    kernel: tf.MaxPool3D,
    inputs: [of([1, 4, 5, 4, 1], -9, 9)],
    compute: (x) => tf.maxPool3d(asVolumes(x), [2, 3, 2], [2, 1, 2], "valid"),
  },
  {
    kernel: tf.LRN,
    inputs: [of([1, 3, 3, 6])],
    compute: (x) => tf.localResponseNormalization(asImages(x), 2, 1, 0.5, 0.75),
  },
  {
    kernel: tf.ResizeBilinear,
    inputs: [of([2, 3, 4, 2])],
    compute: (x) => tf.image.resizeBilinear(asImages(x), [5, 7], false, true),
  },
  {
    kernel: tf.ResizeNearestNeighbor,
    inputs: [of([2, 3, 4, 2])],
    compute: (x) => tf.image.resizeNearestNeighbor(asImages(x), [6, 7]),
  },
  { kernel: tf.ComplexAbs, inputs: [{ ...of([2, 3]), complex: true }], notSlope: true, compute: (x) => tf.abs(x) },
];
