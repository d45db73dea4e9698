// The two gradients of a depthwise 2-D convolution in tf.*, for a backend that lacks them: the filter's as one product a
// filter offset, the input's as a depthwise convolution of dy. No dilation, like TensorFlow.js's.

import * as tf from "@tensorflow/tfjs-core";
import { addBorder, type ConvAttributes, spread } from "./padding.ts";

type Shape4D = [number, number, number, number];

export function registerDepthwiseConv2dGradients(backendName: string): void {
  tf.registerKernel({
    kernelName: tf.DepthwiseConv2dNativeBackpropFilter,
    backendName,
    kernelFunc: ({ inputs, attrs }) => {
      const { x, dy } = inputs as unknown as { x: tf.Tensor4D; dy: tf.Tensor4D };
      const { filterShape, ...conv } = attrs as unknown as ConvAttributes & { filterShape: Shape4D };
      return tf.tidy(() => filterGradient(x, dy, filterShape, conv));
    },
  });
  tf.registerKernel({
    kernelName: tf.DepthwiseConv2dNativeBackpropInput,
    backendName,
    kernelFunc: ({ inputs, attrs }) => {
      const { dy, filter } = inputs as unknown as { dy: tf.Tensor4D; filter: tf.Tensor4D };
      const { inputShape, ...conv } = attrs as unknown as ConvAttributes & { inputShape: Shape4D };
      return tf.tidy(() => inputGradient(dy, filter, inputShape, conv));
    },
  });
}

function geometry(inputShape: Shape4D, filterShape: Shape4D, { strides, pad, dimRoundingMode }: ConvAttributes) {
  return tf.backend_util.computeConv2DInfo(inputShape, filterShape, strides, 1, pad, dimRoundingMode, true);
}

/** @returns (filter height, filter width, channels, multiplier) */
function filterGradient(x: tf.Tensor4D, dy: tf.Tensor4D, filterShape: Shape4D, conv: ConvAttributes): tf.Tensor4D {
  const [filterHeight, filterWidth, channels, multiplier] = filterShape;
  const { padInfo, strideHeight, strideWidth } = geometry(x.shape, filterShape, conv);
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
function inputGradient(dy: tf.Tensor4D, filter: tf.Tensor4D, inputShape: Shape4D, conv: ConvAttributes): tf.Tensor4D {
  const [filterHeight, filterWidth, channels, multiplier] = filter.shape;
  const [batch, height, width] = inputShape;
  const { padInfo, strideHeight, strideWidth } = geometry(inputShape, filter.shape, conv);
  const apart = spread(dy, strideHeight, strideWidth);
  const [, apartHeight, apartWidth] = apart.shape;
  const rows = [filterHeight - 1 - padInfo.top, height + padInfo.top - apartHeight] as const;
  const columns = [filterWidth - 1 - padInfo.left, width + padInfo.left - apartWidth] as const;
  const padded = addBorder(apart, rows, columns);
  // Each of the channel's outputs gets a channel of its own; their gradients are summed at the end.
  const turned = tf.reshape(tf.reverse(filter, [0, 1]), [filterHeight, filterWidth, channels * multiplier, 1]);
  const each = tf.depthwiseConv2d(padded, turned as tf.Tensor4D, 1, "valid");
  return tf.sum(tf.reshape(each, [batch, height, width, channels, multiplier]), -1) as tf.Tensor4D;
}
