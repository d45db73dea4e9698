// Geometry that the gradients of convolutions share, all for channels-last images (batch, height, width, channels).

import * as tf from "@tensorflow/tfjs-core";

/** Rows or columns to add before and after; negative ones are cut off. */
export type Border = readonly [before: number, after: number];

/** Adds zeros around images, or cuts their edges off. */
export function addBorder(x: tf.Tensor4D, rows: Border, columns: Border): tf.Tensor4D {
  const [batch, height, width, channels] = x.shape;
  const added = [rows, columns].map(([before, after]) => [Math.max(0, before), Math.max(0, after)]);
  const cut = [rows, columns].map(([before, after]) => [Math.max(0, -before), Math.max(0, -after)]);
  const [[top = 0, bottom = 0] = [], [left = 0, right = 0] = []] = cut;
  const trimmed =
    top + bottom + left + right === 0
      ? x
      : tf.slice(x, [0, top, left, 0], [batch, height - top - bottom, width - left - right, channels]);
  return added.flat().every((count) => count === 0)
    ? trimmed
    : tf.pad(trimmed, [[0, 0], ...added, [0, 0]] as [number, number][]);
}

/** Puts `stride - 1` zeros between neighboring rows and columns: n of them become (n - 1)·stride + 1. */
export function spread(x: tf.Tensor4D, strideHeight: number, strideWidth: number): tf.Tensor4D {
  if (strideHeight === 1 && strideWidth === 1) {
    return x;
  }
  const [batch, height, width, channels] = x.shape;
  const columns = tf.pad(tf.reshape(x, [batch * height * width, 1, channels]), [
    [0, 0],
    [0, strideWidth - 1],
    [0, 0],
  ]);
  const rows = tf.pad(tf.reshape(columns, [batch * height, 1, width * strideWidth * channels]), [
    [0, 0],
    [0, strideHeight - 1],
    [0, 0],
  ]);
  const image = tf.reshape(rows, [batch, height * strideHeight, width * strideWidth, channels]) as tf.Tensor4D;
  return addBorder(image, [0, 1 - strideHeight], [0, 1 - strideWidth]);
}

export interface ConvAttributes {
  strides: number | [number, number];
  pad: "valid" | "same" | number | [[number, number], [number, number], [number, number], [number, number]];
  dataFormat?: "NHWC" | "NCHW";
  dimRoundingMode?: "floor" | "round" | "ceil";
}

/** (batch, channels, height, width) to (batch, height, width, channels). */
export const toChannelsLast = (x: tf.Tensor4D): tf.Tensor4D => tf.transpose(x, [0, 2, 3, 1]);
/** (batch, height, width, channels) to (batch, channels, height, width). */
export const toChannelsFirst = (x: tf.Tensor4D): tf.Tensor4D => tf.transpose(x, [0, 3, 1, 2]);
