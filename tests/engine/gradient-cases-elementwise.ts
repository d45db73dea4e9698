// Gradient cases of elementwise operations, reductions, and operations that move values; see gradient-cases.ts.

import * as tf from "@tensorflow/tfjs-core";
import { type GradientCase, of } from "./gradient-case.ts";

function unary(kernel: string, compute: (x: tf.Tensor) => tf.Tensor, low = -2, high = 2): GradientCase {
  return { kernel, inputs: [of([2, 5], low, high)], compute };
}

/** The second operand is broadcast, so that its gradient is a sum. */
function binary(kernel: string, compute: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor, low = -2, high = 2): GradientCase {
  return { kernel, inputs: [of([3, 4], low, high), of([4], low, high)], compute };
}

/** Where TensorFlow.js's gradient does not sum over broadcast axes. */
function ofOneShape(kernel: string, compute: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor): GradientCase {
  return { kernel, inputs: [of([3, 4]), of([3, 4])], compute };
}

const CHOICE = [1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0];

const ELEMENTWISE: GradientCase[] = [
  unary(tf.Abs, (x) => tf.abs(x)),
  unary(tf.Acos, (x) => tf.acos(x), -0.9, 0.9),
  unary(tf.Acosh, (x) => tf.acosh(x), 1.1, 3),
  unary(tf.Asin, (x) => tf.asin(x), -0.9, 0.9),
  unary(tf.Asinh, (x) => tf.asinh(x)),
  unary(tf.Atan, (x) => tf.atan(x)),
  unary(tf.Atanh, (x) => tf.atanh(x), -0.9, 0.9),
  unary(tf.Ceil, (x) => tf.ceil(x)),
  unary(tf.ClipByValue, (x) => tf.clipByValue(x, -0.95, 0.52)),
  unary(tf.Cos, (x) => tf.cos(x)),
  unary(tf.Cosh, (x) => tf.cosh(x)),
  unary(tf.Elu, (x) => tf.elu(x)),
  unary(tf.Erf, (x) => tf.erf(x)),
  unary(tf.Exp, (x) => tf.exp(x)),
  unary(tf.Expm1, (x) => tf.expm1(x)),
  unary(tf.Floor, (x) => tf.floor(x)),
  unary(tf.Identity, (x) => tf.clone(x)),
  unary(tf.LeakyRelu, (x) => tf.leakyRelu(x, 0.3)),
  unary(tf.Log, (x) => tf.log(x), 0.2, 3),
  unary(tf.Log1p, (x) => tf.log1p(x), -0.5, 3),
  unary(tf.Neg, (x) => tf.neg(x)),
  unary(tf.OnesLike, (x) => tf.onesLike(x)),
  unary(tf.Reciprocal, (x) => tf.reciprocal(x), 0.5, 3),
  unary(tf.Relu, (x) => tf.relu(x)),
  unary(tf.Relu6, (x) => tf.relu6(x), -3, 9),
  unary(tf.Round, (x) => tf.round(x), -1.9, 2.3),
  unary(tf.Rsqrt, (x) => tf.rsqrt(x), 0.5, 3),
  unary(tf.Selu, (x) => tf.selu(x)),
  unary(tf.Sigmoid, (x) => tf.sigmoid(x)),
  unary(tf.Sign, (x) => tf.sign(x)),
  unary(tf.Sin, (x) => tf.sin(x)),
  unary(tf.Sinh, (x) => tf.sinh(x)),
  unary(tf.Softplus, (x) => tf.softplus(x)),
  unary(tf.Sqrt, (x) => tf.sqrt(x), 0.5, 3),
  unary(tf.Square, (x) => tf.square(x)),
  unary(tf.Step, (x) => tf.step(x, 0.1)),
  unary(tf.Tan, (x) => tf.tan(x), -1, 1),
  unary(tf.Tanh, (x) => tf.tanh(x)),
  unary(tf.ZerosLike, (x) => tf.zerosLike(x)),
  { ...unary(tf.Cast, (x) => tf.cast(tf.cast(x, "int32"), "float32")), notSlope: true },
  unary(tf.IsFinite, (x) => tf.where(tf.isFinite(x), x, tf.zerosLike(x))),
  unary(tf.IsInf, (x) => tf.where(tf.isInf(x), tf.zerosLike(x), x)),
  unary(tf.IsNan, (x) => tf.where(tf.isNaN(x), tf.zerosLike(x), x)),
  binary(tf.Add, tf.add),
  binary(tf.Atan2, tf.atan2, 0.5, 2),
  { ...binary(tf.FloorDiv, tf.floorDiv, 0.5, 3), notSlope: true },
  ofOneShape(tf.Maximum, tf.maximum),
  ofOneShape(tf.Minimum, tf.minimum),
  binary(tf.Mod, tf.mod, 0.5, 3),
  binary(tf.Multiply, tf.mul),
  binary(tf.Pow, tf.pow, 0.5, 2),
  binary(tf.RealDiv, tf.div, 0.5, 2),
  ofOneShape(tf.SquaredDifference, tf.squaredDifference),
  binary(tf.Sub, tf.sub),
  binary(tf.Prelu, (x, alpha) => tf.prelu(x, alpha)),
  binary(tf.GreaterEqual, (a, b) => tf.where(tf.greaterEqual(a, b), a, tf.mul(b, tf.onesLike(a)))),
  {
    kernel: tf.AddN,
    inputs: [of([2, 3]), of([2, 3]), of([2, 3])],
    compute: (...terms: tf.Tensor[]) => tf.addN(terms),
  },
  {
    kernel: tf.Select,
    inputs: [of([3, 4]), of([3, 4])],
    compute: (a, b) => tf.where(tf.tensor2d(CHOICE, [3, 4], "bool"), a, b),
  },
];

const REDUCTIONS: GradientCase[] = [
  unary(tf.ArgMax, (x) => tf.cast(tf.argMax(x, 1), "float32")),
  unary(tf.ArgMin, (x) => tf.cast(tf.argMin(x, 1), "float32")),
  unary(tf.LogSoftmax, (x) => tf.logSoftmax(x)),
  unary(tf.Max, (x) => tf.max(x, 1)),
  unary(tf.Mean, (x) => tf.mean(x, 0)),
  unary(tf.Min, (x) => tf.min(x, 1, true)),
  unary(tf.Prod, (x) => tf.prod(x, 1)),
  unary(tf.Softmax, (x) => tf.softmax(x)),
  unary(tf.Sum, (x) => tf.sum(x, 0)),
  unary(tf.Cumsum, (x) => tf.cumsum(x, 1, true, true)),
];

const SEGMENTS = [2, 0, 2, -1, 1];

const SHAPES: GradientCase[] = [
  unary(tf.BroadcastTo, (x) => tf.broadcastTo(tf.reshape(x, [2, 5, 1]), [3, 2, 5, 4])),
  unary(tf.ExpandDims, (x) => tf.expandDims(x, 1)),
  {
    ...unary(tf.MirrorPad, (x) =>
      tf.mirrorPad(
        x,
        [
          [1, 0],
          [2, 1],
        ],
        "reflect",
      ),
    ),
    notSlope: true,
  },
  unary(tf.PadV2, (x) =>
    tf.pad(
      x,
      [
        [1, 2],
        [0, 3],
      ],
      7,
    ),
  ),
  unary(tf.Reshape, (x) => tf.reshape(x, [5, 2])),
  unary(tf.Reverse, (x) => tf.reverse(x, 1)),
  unary(tf.Slice, (x) => tf.slice(x, [0, 1], [2, 3])),
  unary(tf.SplitV, (x) => tf.concat(tf.split(x, [1, 4], 1).toReversed(), 1)),
  unary(tf.Tile, (x) => tf.tile(x, [2, 3])),
  unary(tf.Transpose, (x) => tf.transpose(x)),
  unary(tf.Unpack, (x) => tf.mul(...(tf.unstack(x) as [tf.Tensor, tf.Tensor]))),
  unary(tf.GatherV2, (x) => tf.gather(x, tf.tensor1d([4, 0, 4, 2], "int32"), 1)),
  unary(tf.OneHot, (x) => tf.mul(x, tf.cast(tf.oneHot(tf.tensor1d([1, 3], "int32"), 5), "float32"))),
  {
    kernel: tf.UnsortedSegmentSum,
    inputs: [of([5, 3])],
    compute: (x) => tf.unsortedSegmentSum(x, tf.tensor1d(SEGMENTS, "int32"), 4),
  },
  {
    kernel: tf.BatchToSpaceND,
    inputs: [of([8, 2, 3, 2])],
    compute: (x) =>
      tf.batchToSpaceND(
        x,
        [2, 2],
        [
          [1, 0],
          [0, 1],
        ],
      ),
  },
  {
    kernel: tf.SpaceToBatchND,
    inputs: [of([2, 4, 5, 2])],
    compute: (x) =>
      tf.spaceToBatchND(
        x,
        [2, 2],
        [
          [0, 0],
          [1, 0],
        ],
      ),
  },
  { kernel: tf.Concat, inputs: [of([2, 3]), of([2, 1])], compute: (a, b) => tf.concat([a, b], 1) },
  { kernel: tf.Pack, inputs: [of([2, 3]), of([2, 3])], compute: (a, b) => tf.stack([a, b], 1) },
];

export const ELEMENTWISE_CASES: readonly GradientCase[] = [...ELEMENTWISE, ...REDUCTIONS, ...SHAPES];
