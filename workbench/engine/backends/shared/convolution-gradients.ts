// The gradients of 2-D convolutions, ordinary and depthwise, in tf.* operations, for a backend whose convolution is
// fast and whose gradients are slow or missing. The gradients of an ordinary convolution are themselves convolutions,
// of tensors with their axes exchanged. For a depthwise convolution, the gradient of the filter is one product per
// filter offset, and that of the input is a depthwise convolution of dy. Dilation is not supported, as in
// TensorFlow.js's own gradients. Images are (batch, height, width, channels).

import * as tf from "@tensorflow/tfjs-core";
import { defineKernel } from "../../tfjs/registry.ts";

type Shape4D = [number, number, number, number];

interface FilterGradientInputs {
  x: tf.Tensor4D;
  dy: tf.Tensor4D;
}
interface InputGradientInputs {
  dy: tf.Tensor4D;
  filter: tf.Tensor4D;
}
type FilterGradientAttributes = ConvAttributes & { filterShape: Shape4D };
type InputGradientAttributes = ConvAttributes & { inputShape: Shape4D };

/** Registers both gradients of the ordinary convolution for a backend, and replaces its own. */
export function registerConv2dGradients(backendName: string): void {
  defineKernel(
    tf.Conv2DBackpropFilter,
    backendName,
    ({ x, dy }: FilterGradientInputs, { filterShape, ...conv }: FilterGradientAttributes) =>
      tf.tidy(() =>
        conv.dataFormat === "NCHW"
          ? filterGradient(toChannelsLast(x), toChannelsLast(dy), filterShape, conv)
          : filterGradient(x, dy, filterShape, conv),
      ),
  );
  defineKernel(
    tf.Conv2DBackpropInput,
    backendName,
    ({ dy, filter }: InputGradientInputs, { inputShape, ...conv }: InputGradientAttributes) =>
      tf.tidy(() => {
        if (conv.dataFormat !== "NCHW") return inputGradient(dy, filter, inputShape, conv);
        const [batch, channels, height, width] = inputShape;
        return toChannelsFirst(inputGradient(toChannelsLast(dy), filter, [batch, height, width, channels], conv));
      }),
  );
}

/** Registers both gradients of the depthwise convolution for a backend. */
export function registerDepthwiseConv2dGradients(backendName: string): void {
  defineKernel(
    tf.DepthwiseConv2dNativeBackpropFilter,
    backendName,
    ({ x, dy }: FilterGradientInputs, { filterShape, ...conv }: FilterGradientAttributes) =>
      tf.tidy(() => depthwiseFilterGradient(x, dy, filterShape, conv)),
  );
  defineKernel(
    tf.DepthwiseConv2dNativeBackpropInput,
    backendName,
    ({ dy, filter }: InputGradientInputs, { inputShape, ...conv }: InputGradientAttributes) =>
      tf.tidy(() => depthwiseInputGradient(dy, filter, inputShape, conv)),
  );
}

/**
 * The gradient of the filter: Σ over images and positions of x (shifted by the filter's offset) times dy. It is
 * computed as a convolution of x with dy as the filter, dilated by the stride, in which the axes of images and input
 * channels are exchanged.
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
  // If the strides leave a remainder, the last rows and columns are not used, so less padding is needed than in the
  // forward pass.
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
 * The gradient of the input. Rows of dx with the same remainder modulo the stride, called a phase, depend on every
 * stride-th row of the filter; the same holds for columns. Each pair of phases is a convolution of dy with that part of
 * the filter, rotated by 180 degrees and with its channel axes exchanged. The phases are interleaved at the end.
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
  // The dy of a transposed convolution may have more rows than a forward pass would produce.
  const produced = addBorder(dy, [0, info.outHeight - dy.shape[1]], [0, info.outWidth - dy.shape[2]]);
  const rows = phases(height, info.filterHeight, info.outHeight, info.strideHeight, info.padInfo.top);
  const columns = phases(width, info.filterWidth, info.outWidth, info.strideWidth, info.padInfo.left);
  const exchanged = tf.transpose(filter, [0, 1, 3, 2]);
  const lines = rows.map((row) =>
    interleave(
      columns.map((column) => phaseGradient(produced, exchanged, row, column)),
      2,
    ),
  );
  const whole = interleave(lines, 1);
  return addBorder(whole, [0, height - whole.shape[1]], [0, width - whole.shape[2]]);
}

/**
 * One axis of one phase: the taps (rows or columns) of the filter that it depends on, and the padding of dy for them.
 * Negative padding cuts.
 */
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

/** The indices of the taps that a phase depends on, last first. */
function tapsBackwards(taps: number, { first, step }: Phase): number[] {
  return [...Array(taps).keys()].filter((tap) => tap >= first && (tap - first) % step === 0).reverse();
}

/** Interleaves the rows (axis 1) or columns (axis 2) of images. */
function interleave(images: tf.Tensor4D[], axis: 1 | 2): tf.Tensor4D {
  const [first] = images as [tf.Tensor4D];
  if (images.length === 1) {
    return first;
  }
  const shape = first.shape.with(axis, (first.shape[axis] ?? 0) * images.length) as Shape4D;
  return tf.reshape(tf.stack(images, axis + 1), shape);
}

function depthwiseGeometry(
  inputShape: Shape4D,
  filterShape: Shape4D,
  { strides, pad, dimRoundingMode }: ConvAttributes,
) {
  return tf.backend_util.computeConv2DInfo(inputShape, filterShape, strides, 1, pad, dimRoundingMode, true);
}

/** @returns (filter height, filter width, channels, multiplier) */
function depthwiseFilterGradient(
  x: tf.Tensor4D,
  dy: tf.Tensor4D,
  filterShape: Shape4D,
  conv: ConvAttributes,
): tf.Tensor4D {
  const [filterHeight, filterWidth, channels, multiplier] = filterShape;
  const { padInfo, strideHeight, strideWidth } = depthwiseGeometry(x.shape, filterShape, conv);
  const [batch, height, width] = x.shape;
  const [, outHeight, outWidth] = dy.shape;
  const reachHeight = (outHeight - 1) * strideHeight + 1;
  const reachWidth = (outWidth - 1) * strideWidth + 1;
  const bottom = filterHeight - 1 + reachHeight - height - padInfo.top;
  const right = filterWidth - 1 + reachWidth - width - padInfo.left;
  const padded = addBorder(x, [padInfo.top, bottom], [padInfo.left, right]);
  const positions = batch * outHeight * outWidth;
  const gradient = tf.reshape(dy, [positions, channels, multiplier]);
  const ones = tf.ones([1, positions]) as tf.Tensor2D;
  const offsets: tf.Tensor[] = [];
  for (let row = 0; row < filterHeight; row++) {
    for (let column = 0; column < filterWidth; column++) {
      const begin = [0, row, column, 0];
      const end = [batch, row + reachHeight, column + reachWidth, channels];
      const seen = tf.stridedSlice(padded, begin, end, [1, strideHeight, strideWidth, 1]);
      const products = tf.mul(tf.reshape(seen, [positions, channels, 1]), gradient);
      offsets.push(tf.matMul(ones, tf.reshape(products, [positions, channels * multiplier])));
    }
  }
  return tf.reshape(tf.concat(offsets), filterShape) as tf.Tensor4D;
}

/** @returns (batch, height, width, channels) */
function depthwiseInputGradient(
  dy: tf.Tensor4D,
  filter: tf.Tensor4D,
  inputShape: Shape4D,
  conv: ConvAttributes,
): tf.Tensor4D {
  const [filterHeight, filterWidth, channels, multiplier] = filter.shape;
  const [batch, height, width] = inputShape;
  const { padInfo, strideHeight, strideWidth } = depthwiseGeometry(inputShape, filter.shape, conv);
  const dilatedDy = dilate(dy, strideHeight, strideWidth);
  const [, dilatedHeight, dilatedWidth] = dilatedDy.shape;
  const rows = [filterHeight - 1 - padInfo.top, height + padInfo.top - dilatedHeight] as const;
  const columns = [filterWidth - 1 - padInfo.left, width + padInfo.left - dilatedWidth] as const;
  const padded = addBorder(dilatedDy, rows, columns);
  // Each output of a channel is treated as a channel of its own. Their gradients are summed at the end.
  const turned = tf.reshape(tf.reverse(filter, [0, 1]), [filterHeight, filterWidth, channels * multiplier, 1]);
  const each = tf.depthwiseConv2d(padded, turned as tf.Tensor4D, 1, "valid");
  return tf.sum(tf.reshape(each, [batch, height, width, channels, multiplier]), -1) as tf.Tensor4D;
}

/** Rows or columns to add before and after; negative ones are cut off. */
type Border = readonly [before: number, after: number];

/** Adds zeros around images, or cuts their edges off. */
function addBorder(x: tf.Tensor4D, rows: Border, columns: Border): tf.Tensor4D {
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
function dilate(x: tf.Tensor4D, strideHeight: number, strideWidth: number): tf.Tensor4D {
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

interface ConvAttributes {
  strides: number | [number, number];
  pad: "valid" | "same" | number | [[number, number], [number, number], [number, number], [number, number]];
  dataFormat?: "NHWC" | "NCHW";
  dimRoundingMode?: "floor" | "round" | "ceil";
}

/** (batch, channels, height, width) to (batch, height, width, channels). */
const toChannelsLast = (x: tf.Tensor4D): tf.Tensor4D => tf.transpose(x, [0, 2, 3, 1]);
/** (batch, height, width, channels) to (batch, channels, height, width). */
const toChannelsFirst = (x: tf.Tensor4D): tf.Tensor4D => tf.transpose(x, [0, 3, 1, 2]);
