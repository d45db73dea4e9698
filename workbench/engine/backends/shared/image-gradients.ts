// Gradients of average pooling and of resizing images, corrected for TensorFlow.js's backends.
//
// Average pooling: at padded borders TensorFlow.js divides by the number of inputs that a window covers in the forward
// pass, but by the window's full size in the backward pass. Here dy is scaled by the ratio of the two before it is
// passed to the backend's own kernel. Resizing: TensorFlow.js's gradients ignore half-pixel centers, and those of its
// CPU backend need square images. Here the gradient is the product with the transposed interpolation matrices of the
// two axes.

import * as tf from "@tensorflow/tfjs-core";
import { defineKernel, wrapKernel } from "../../tfjs/registry.ts";

type Pad = "valid" | "same" | number;

interface PoolAttributes {
  filterSize: number | [number, number];
  strides: number | [number, number];
  pad: Pad;
  dimRoundingMode?: "floor" | "round" | "ceil";
}

/** Wraps the backend's own gradient of 2-D average pooling. */
export function registerAveragePoolGradient(backendName: string): void {
  wrapKernel<{ dy: tf.Tensor4D; input: tf.Tensor4D }, PoolAttributes>(tf.AvgPoolGrad, backendName, (call, own) => {
    const { dy, input } = call.inputs;
    const factors = borderFactors(input.shape, call.attrs);
    if (factors.every((factor) => factor === 1)) {
      return own(call);
    }
    const scaled = tf.tidy(() => tf.mul(dy, tf.tensor(factors, [1, dy.shape[1], dy.shape[2], 1])));
    const gradient = own({ ...call, inputs: { ...call.inputs, dy: scaled } });
    tf.dispose(scaled);
    return gradient;
  });
}

/** @returns for each output position, row by row, the window's size over the number of inputs in it */
function borderFactors(inputShape: [number, number, number, number], attributes: PoolAttributes): Float32Array {
  const { filterSize, strides, pad, dimRoundingMode } = attributes;
  const info = tf.backend_util.computePool2DInfo(inputShape, filterSize, strides, 1, pad, dimRoundingMode);
  const rows = covered(info.outHeight, info.strideHeight, info.padInfo.top, info.filterHeight, info.inHeight);
  const columns = covered(info.outWidth, info.strideWidth, info.padInfo.left, info.filterWidth, info.inWidth);
  const size = info.filterHeight * info.filterWidth;
  return Float32Array.from(rows.flatMap((row) => columns.map((column) => size / (row * column))));
}

/** For each of `count` windows, the number of inputs that it covers along one axis, without padding. */
function covered(count: number, stride: number, pad: number, window: number, size: number): number[] {
  return Array.from({ length: count }, (_, position) => {
    const start = position * stride - pad;
    return Math.min(start + window, size) - Math.max(start, 0);
  });
}

interface ResizeAttributes {
  alignCorners: boolean;
  halfPixelCenters?: boolean;
}

/** Replaces the backend's own gradients of bilinear and nearest-neighbor resizing. */
export function registerResizeGradients(backendName: string): void {
  const kernels: [string, Place][] = [
    [tf.ResizeBilinearGrad, placeBetween],
    [tf.ResizeNearestNeighborGrad, placeAtNearest],
  ];
  for (const [kernelName, place] of kernels) {
    defineKernel(
      kernelName,
      backendName,
      ({ images, dy }: { images: tf.Tensor4D; dy: tf.Tensor4D }, attributes: ResizeAttributes) => {
        const axis = (size: number, resized: number) => interpolation(size, resized, attributes, place);
        return tf.tidy(() => resizeBack(dy, images.shape, axis));
      },
    );
  }
}

/** @returns (batch, height, width, channels) */
function resizeBack(
  dy: tf.Tensor4D,
  [batch, height, width, channels]: [number, number, number, number],
  axis: (size: number, resized: number) => Float32Array,
): tf.Tensor4D {
  const [, newHeight, newWidth] = dy.shape;
  const rows = tf.tensor3d(axis(height, newHeight), [1, height, newHeight]);
  const columns = tf.tensor3d(axis(width, newWidth), [1, width, newWidth]);
  const tall = tf.matMul(rows, tf.reshape(dy, [batch, newHeight, newWidth * channels]));
  const wide = tf.matMul(columns, tf.reshape(tall, [batch * height, newWidth, channels]));
  return tf.reshape(wide, [batch, height, width, channels]);
}

/** Writes the weights of one output position into its column of the matrix. */
type Place = (put: (position: number, weight: number) => void, source: number, attributes: ResizeAttributes) => void;

/** @returns the transposed interpolation matrix of one axis, (size, resized) */
function interpolation(size: number, resized: number, attributes: ResizeAttributes, place: Place): Float32Array {
  const { alignCorners, halfPixelCenters } = attributes;
  const corners = alignCorners && resized > 1;
  const ratio = corners ? (size - 1) / (resized - 1) : size / resized;
  const matrix = new Float32Array(size * resized);
  for (let position = 0; position < resized; position++) {
    const put = (from: number, weight: number) => {
      const at = Math.min(size - 1, Math.max(0, from)) * resized + position;
      matrix[at] = (matrix[at] ?? 0) + weight;
    };
    place(put, ratio * (halfPixelCenters ? position + 0.5 : position), attributes);
  }
  return matrix;
}

const placeBetween: Place = (put, source, { halfPixelCenters }) => {
  const exact = halfPixelCenters ? source - 0.5 : source;
  const below = Math.floor(exact);
  put(below, 1 - (exact - below));
  put(below + 1, exact - below);
};

const placeAtNearest: Place = (put, source, { alignCorners }) => {
  put(alignCorners ? Math.round(source) : Math.floor(source), 1);
};
