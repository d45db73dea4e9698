// The two gradients of a 2-D convolution as convolutions themselves, of tensors with their axes exchanged, for a backend
// whose convolution is fast and whose gradients are slow or missing. Written in tf.*; no dilation, like TensorFlow.js's.

import * as tf from "@tensorflow/tfjs-core";
import { addBorder, type ConvAttributes, spread, toChannelsFirst, toChannelsLast } from "./padding.ts";

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
 * dy, with zeros between its positions where the forward pass strode over some, convolved with the filter turned by 180
 * degrees and its channels exchanged.
 *
 * @returns (batch, height, width, channels in)
 */
function inputGradient(dy: tf.Tensor4D, filter: tf.Tensor4D, inputShape: Shape4D, conv: ConvAttributes): tf.Tensor4D {
  const [filterHeight, filterWidth] = filter.shape;
  const [, height, width] = inputShape;
  const { padInfo, strideHeight, strideWidth, outHeight, outWidth } = tf.backend_util.computeConv2DInfo(
    inputShape,
    filter.shape,
    conv.strides,
    1,
    conv.pad,
    conv.dimRoundingMode,
  );
  // A transposed convolution may be given more rows than a forward pass would have made.
  const [, rows, columns] = dy.shape;
  const made = addBorder(dy, [0, outHeight - rows], [0, outWidth - columns]);
  if (filterHeight === 1 && filterWidth === 1) {
    const few = tf.conv2d(made, turn(filter), 1, "valid");
    const apart = spread(few, strideHeight, strideWidth);
    const bottom = height + padInfo.top - apart.shape[1];
    return addBorder(apart, [-padInfo.top, bottom], [-padInfo.left, width + padInfo.left - apart.shape[2]]);
  }
  const apart = spread(made, strideHeight, strideWidth);
  const [, apartHeight, apartWidth] = apart.shape;
  const top = filterHeight - 1 - padInfo.top;
  const left = filterWidth - 1 - padInfo.left;
  const bottom = height + padInfo.top - apartHeight;
  const right = width + padInfo.left - apartWidth;
  const padded = addBorder(apart, [top, bottom], [left, right]);
  return tf.conv2d(padded, turn(filter), 1, "valid");
}

/** (height, width, channels in, channels out) to (height, width, channels out, channels in), turned by 180 degrees. */
function turn(filter: tf.Tensor4D): tf.Tensor4D {
  return tf.transpose(tf.reverse(filter, [0, 1]), [0, 1, 3, 2]);
}
