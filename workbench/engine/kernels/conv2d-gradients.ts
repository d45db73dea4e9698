// The two gradients of a 2-D convolution as convolutions themselves, of tensors with their axes exchanged, for a backend
// whose convolution is fast and whose gradients are slow or missing. Written in tf.*; no dilation, like TensorFlow.js's.

import * as tf from "@tensorflow/tfjs-core";
import { addBorder, type Border, type ConvAttributes, toChannelsFirst, toChannelsLast } from "./padding.ts";

type Shape4D = [number, number, number, number];

/** Registers both gradients for a backend, in place of those that it has. */
export function registerConv2dGradients(backendName: string): void {
  const kernels: [string, tf.KernelFunc][] = [
    [tf.Conv2DBackpropFilter, filterGradientKernel],
    [tf.Conv2DBackpropInput, inputGradientKernel],
  ];
  for (const [kernelName, kernelFunc] of kernels) {
    if (tf.getKernel(kernelName, backendName)) {
      tf.unregisterKernel(kernelName, backendName);
    }
    tf.registerKernel({ kernelName, backendName, kernelFunc });
  }
}

const filterGradientKernel: tf.KernelFunc = ({ inputs, attrs }) => {
  const { x, dy } = inputs as unknown as { x: tf.Tensor4D; dy: tf.Tensor4D };
  const { filterShape, ...conv } = attrs as unknown as ConvAttributes & { filterShape: Shape4D };
  return tf.tidy(() => {
    const last = conv.dataFormat !== "NCHW";
    return last
      ? filterGradient(x, dy, filterShape, conv)
      : filterGradient(toChannelsLast(x), toChannelsLast(dy), filterShape, conv);
  });
};

const inputGradientKernel: tf.KernelFunc = ({ inputs, attrs }) => {
  const { dy, filter } = inputs as unknown as { dy: tf.Tensor4D; filter: tf.Tensor4D };
  const { inputShape, ...conv } = attrs as unknown as ConvAttributes & { inputShape: Shape4D };
  return tf.tidy(() => {
    if (conv.dataFormat !== "NCHW") {
      return inputGradient(dy, filter, inputShape, conv);
    }
    const [batch, channels, height, width] = inputShape;
    return toChannelsFirst(inputGradient(toChannelsLast(dy), filter, [batch, height, width, channels], conv));
  });
};

/**
 * Σ over images and positions of x (shifted by the filter's offset) times dy: a convolution in which channels in are the
 * images, images are the channels, and dy, dilated by the stride, is the filter.
 *
 * @returns (filter height, filter width, channels in, channels out)
 */
function filterGradient(x: tf.Tensor4D, dy: tf.Tensor4D, filterShape: Shape4D, conv: ConvAttributes): tf.Tensor4D {
  const [filterHeight, filterWidth, channelsIn, channelsOut] = filterShape;
  const { padInfo, strideHeight, strideWidth } = tf.backend_util.computeConv2DInfo(
    x.shape,
    filterShape,
    conv.strides,
    1,
    conv.pad,
    conv.dimRoundingMode,
  );
  const [, height, width] = x.shape;
  const [, outHeight, outWidth] = dy.shape;
  // As much as the offsets reach, which is less than the forward pass padded when strides leave a rest.
  const bottom = filterHeight + (outHeight - 1) * strideHeight - height - padInfo.top;
  const right = filterWidth + (outWidth - 1) * strideWidth - width - padInfo.left;
  const padded = addBorder(x, [padInfo.top, bottom], [padInfo.left, right]);
  if (filterHeight === 1 && filterWidth === 1 && strideHeight === 1 && strideWidth === 1) {
    const rows = tf.reshape(padded, [-1, channelsIn]);
    return tf.reshape(tf.matMul(rows, tf.reshape(dy, [-1, channelsOut]), true), filterShape) as tf.Tensor4D;
  }
  const images = tf.transpose(padded, [3, 1, 2, 0]);
  const filter = tf.transpose(dy, [1, 2, 0, 3]);
  const offsets = tf.conv2d(images, filter, 1, "valid", "NHWC", [strideHeight, strideWidth]);
  return tf.transpose(offsets, [1, 2, 0, 3]);
}

/**
 * The rows of dx that lie the same way to the stride see every stride-th row of the filter, and so for columns: each such
 * phase is a convolution of dy with that part of the filter, turned by 180 degrees and its channels exchanged.
 *
 * @returns (batch, height, width, channels in)
 */
function inputGradient(dy: tf.Tensor4D, filter: tf.Tensor4D, inputShape: Shape4D, conv: ConvAttributes): tf.Tensor4D {
  const [, height, width] = inputShape;
  const info = tf.backend_util.computeConv2DInfo(
    inputShape,
    filter.shape,
    conv.strides,
    1,
    conv.pad,
    conv.dimRoundingMode,
  );
  // A transposed convolution may be given more rows than a forward pass would have made.
  const made = addBorder(dy, [0, info.outHeight - dy.shape[1]], [0, info.outWidth - dy.shape[2]]);
  const rows = phases(height, info.filterHeight, info.outHeight, info.strideHeight, info.padInfo.top);
  const columns = phases(width, info.filterWidth, info.outWidth, info.strideWidth, info.padInfo.left);
  const exchanged = tf.transpose(filter, [0, 1, 3, 2]);
  const lines = rows.map((row) =>
    interleave(
      columns.map((column) => phaseGradient(made, exchanged, row, column)),
      2,
    ),
  );
  const whole = interleave(lines, 1);
  return addBorder(whole, [0, height - whole.shape[1]], [0, width - whole.shape[2]]);
}

/** One axis of one phase: which taps of the filter it sees, and how dy is to be padded or cut for them. */
interface Phase {
  first: number;
  step: number;
  length: number;
  border: Border;
}

function phases(size: number, taps: number, outSize: number, stride: number, pad: number): Phase[] {
  const length = Math.ceil(size / stride);
  return Array.from({ length: stride }, (_, phase) => {
    const first = (phase + pad) % stride;
    const seen = Math.max(0, Math.ceil((taps - first) / stride));
    const shift = (phase + pad - first) / stride;
    return { first, step: stride, length, border: [seen - 1 - shift, length + shift - outSize] };
  });
}

/** @param exchanged the filter as (height, width, channels out, channels in) */
function phaseGradient(dy: tf.Tensor4D, exchanged: tf.Tensor4D, row: Phase, column: Phase): tf.Tensor4D {
  const [filterHeight, filterWidth, channelsOut, channelsIn] = exchanged.shape;
  const rows = tapsBackwards(filterHeight, row);
  const columns = tapsBackwards(filterWidth, column);
  if (rows.length === 0 || columns.length === 0) {
    return tf.zeros([dy.shape[0], row.length, column.length, channelsIn]);
  }
  const taps = rows.flatMap((at) => columns.map((across) => at * filterWidth + across));
  const all = tf.reshape(exchanged, [filterHeight * filterWidth, channelsOut, channelsIn]);
  const part = tf.reshape(tf.gather(all, taps), [rows.length, columns.length, channelsOut, channelsIn]);
  return tf.conv2d(addBorder(dy, row.border, column.border), part as tf.Tensor4D, 1, "valid");
}

/** The numbers of the taps that a phase sees, last first. */
function tapsBackwards(taps: number, { first, step }: Phase): number[] {
  return [...Array(taps).keys()].filter((tap) => tap >= first && (tap - first) % step === 0).reverse();
}

/** Takes rows (axis 1) or columns (axis 2) from each image in turn. */
function interleave(images: tf.Tensor4D[], axis: 1 | 2): tf.Tensor4D {
  const [first] = images as [tf.Tensor4D];
  if (images.length === 1) {
    return first;
  }
  const shape = first.shape.with(axis, (first.shape[axis] ?? 0) * images.length) as Shape4D;
  return tf.reshape(tf.stack(images, axis + 1), shape);
}
