// Convolutions in two and three dimensions, grouped and depthwise, with their gradients. tfjs has the channels last,
// ATen first: axes are permuted as views, without a copy.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import type { Handle } from "../addon.ts";
import { aten, bfloat16CopyOf, STRIDED } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import { type Attributes, half, type Inputs, type KernelTable } from "../register.ts";
import { type Geometry, geometry2d, geometry3d } from "./convolution-geometry.ts";
import { activate } from "./elementwise.ts";

const convolution = aten("convolution");
const convolutionBackward = aten<Handle[]>("convolution_backward");
const constantPad = aten("constant_pad_nd");
const cast = aten("to", "dtype");
const permute = aten("permute");
const alias = aten("alias");
const reshape = aten("reshape");
const add = aten("add", "Tensor");
const narrow = aten("narrow");
const empty = aten("empty", "memory_format");

const spatialAxes = (g: Geometry) => g.inSpatial.map((_, i) => i);

/** (batch, …spatial, channels) → (batch, channels, …spatial) */
const channelsFirst = (x: TensorInfo | Handle, g: Geometry): Handle =>
  g.channelsLast ? permute(x, [0, g.inSpatial.length + 1, ...spatialAxes(g).map((i) => i + 1)]) : alias(x);

/** The inverse of `channelsFirst`. */
const channelsBack = (x: Handle, g: Geometry): Handle =>
  g.channelsLast ? permute(x, [0, ...spatialAxes(g).map((i) => i + 2), 1]) : x;

/**
 * (…spatial, in, out) → (out, in, …spatial); depthwise (h, w, in, multiplier) → (in · multiplier, 1, h, w). In bfloat16
 * if products are.
 */
function filterFirst(filter: TensorInfo, { depthwise }: Geometry, backend: TorchBackend): Handle {
  const held = backend.mixed ? (bfloat16CopyOf(filter) ?? cast(filter, "bfloat16")) : filter;
  if (!depthwise) {
    const rank = filter.shape.length;
    return permute(held, [rank - 1, rank - 2, ...Array.from({ length: rank - 2 }, (_, i) => i)]);
  }
  const [height, width, channels, multiplier] = filter.shape as [number, number, number, number];
  return reshape(permute(held, [2, 3, 0, 1]), [channels * multiplier, 1, height, width]);
}

/** The shape that filterFirst gives a filter of `shape`. */
function filterFirstShape(shape: number[], { depthwise }: Geometry): number[] {
  if (!depthwise) return [shape.at(-1) as number, shape.at(-2) as number, ...shape.slice(0, -2)];
  const [height, width, channels, multiplier] = shape as [number, number, number, number];
  return [channels * multiplier, 1, height, width];
}

/** The inverse of `filterFirst`. */
function filterBack(filter: Handle, shape: number[], { depthwise }: Geometry): Handle {
  if (!depthwise) {
    return permute(filter, [...Array.from({ length: shape.length - 2 }, (_, i) => i + 2), 1, 0]);
  }
  const [height, width, channels, multiplier] = shape as [number, number, number, number];
  return permute(reshape(filter, [channels, multiplier, height, width]), [2, 3, 0, 1]);
}

const isPlain = (g: Geometry) => g.paddings.every(([before, after]) => before === after && before >= 0);

/** Splits the padding into `inner`, which ATen's convolution applies, and `outer`, which is applied before it. */
function splitPadding(g: Geometry) {
  const flat = [...g.paddings].reverse().flat();
  return isPlain(g)
    ? { inner: g.paddings.map(([before]) => before), outer: undefined }
    : { inner: g.paddings.map(() => 0), outer: flat };
}

interface Operands {
  x: TensorInfo;
  filter: TensorInfo;
  /** (channels) */
  bias?: TensorInfo;
}

function forward({ x, filter, bias }: Operands, g: Geometry, backend: TorchBackend): Handle {
  const { inner, outer } = splitPadding(g);
  const input = channelsFirst(half(x, backend), g);
  const y = convolution(
    outer ? constantPad(input, outer, 0) : input,
    filterFirst(filter, g, backend),
    bias ? half(bias, backend) : null,
    g.strides,
    inner,
    g.dilations,
    false,
    g.strides.map(() => 0),
    g.groups,
  );
  return channelsBack(y, g);
}

/** The part of dy that belongs to the convolution's output. The dy of a transposed convolution may be larger. */
function withinOutput(dy: TensorInfo, g: Geometry): TensorInfo | Handle {
  const offset = g.channelsLast ? 1 : 2;
  return g.outSpatial.reduce<TensorInfo | Handle>(
    (result, size, i) => ((dy.shape[i + offset] as number) > size ? narrow(result, i + offset, 0, size) : result),
    dy,
  );
}

/** An uninitialized tensor of a shape with the channels first, which are last in memory if those of the convolution are. */
function unset([batch, channels, ...spatial]: number[], g: Geometry, backend: TorchBackend): Handle {
  const make = (shape: number[]) => empty(shape, backend.mixed ? "bfloat16" : "float32", STRIDED, backend.device);
  const axes = spatial.map((_, i) => i + 1);
  if (!g.channelsLast) return make([batch as number, channels as number, ...spatial]);
  return permute(make([batch as number, ...spatial, channels as number]), [0, spatial.length + 1, ...axes]);
}

/**
 * The wanted gradient. The operand to which it belongs may be an uninitialized tensor, because its values are not used.
 */
function backward(
  { dy, input, filter }: { dy: TensorInfo; input: Handle; filter: Handle },
  g: Geometry,
  wanted: "input" | "filter",
  backend: TorchBackend,
): Handle {
  const [dx, df] = convolutionBackward(
    channelsFirst(half(withinOutput(dy, g), backend), g),
    half(input, backend),
    half(filter, backend),
    null,
    g.strides,
    splitPadding(g).inner,
    g.dilations,
    false,
    g.strides.map(() => 0),
    g.groups,
    [wanted === "input", wanted === "filter", false],
  ) as [Handle, Handle];
  return wanted === "input" ? dx : df;
}

function inputGradient(dy: TensorInfo, filter: TensorInfo, g: Geometry, backend: TorchBackend): Handle {
  const { outer } = splitPadding(g);
  const padded = g.inSpatial.map(
    (size, i) => size + (outer ? (g.paddings[i]?.[0] ?? 0) + (g.paddings[i]?.[1] ?? 0) : 0),
  );
  const input = unset([g.batch, g.inChannels, ...padded], g, backend);
  const dx = backward({ dy, input, filter: filterFirst(filter, g, backend) }, g, "input", backend);
  const cut = outer?.map((padding) => -padding);
  return channelsBack(cut ? constantPad(dx, cut, 0) : dx, g);
}

function filterGradient(x: TensorInfo, dy: TensorInfo, shape: number[], g: Geometry, backend: TorchBackend): Handle {
  const { outer } = splitPadding(g);
  const first = channelsFirst(x, g);
  const input = outer ? constantPad(first, outer, 0) : first;
  const filter = unset(filterFirstShape(shape, g), g, backend);
  return filterBack(backward({ dy, input, filter }, g, "filter", backend), shape, g);
}

function fused(inputs: Inputs, attrs: Attributes, depthwise: boolean, backend: TorchBackend): Handle {
  const { x, filter, bias, preluActivationWeights: slopes } = inputs;
  const g = geometry2d(x.shape, filter.shape, attrs, depthwise);
  // ATen adds a bias with one number per channel; TensorFlow.js also allows a bias that broadcasts.
  const simple = bias?.shape.length === 1 && bias.shape[0] !== 1;
  const y = forward({ x, filter, bias: simple ? bias : undefined }, g, backend);
  const biased = bias && !simple ? add(y, channelVector(bias, g)) : y;
  return activate(biased, attrs.activation, {
    slopes: slopes && channelVector(slopes, g),
    alpha: attrs.leakyreluAlpha,
  });
}

/** A vector over channels, shaped to broadcast in NCHW. */
function channelVector(vector: TensorInfo, g: Geometry): TensorInfo | Handle {
  return g.channelsLast || vector.shape.length !== 1 ? vector : reshape(vector, [vector.shape[0] as number, 1, 1]);
}

export const convolutions: KernelTable = {
  Conv2D: ({ x, filter }, attrs, backend) => forward({ x, filter }, geometry2d(x.shape, filter.shape, attrs), backend),
  Conv2DBackpropInput: ({ dy, filter }, attrs, backend) =>
    inputGradient(dy, filter, geometry2d(attrs.inputShape, filter.shape, attrs), backend),
  Conv2DBackpropFilter: ({ x, dy }, attrs, backend) =>
    filterGradient(x, dy, attrs.filterShape, geometry2d(x.shape, attrs.filterShape, attrs), backend),
  DepthwiseConv2dNative: ({ x, filter }, attrs, backend) =>
    forward({ x, filter }, geometry2d(x.shape, filter.shape, attrs, true), backend),
  DepthwiseConv2dNativeBackpropInput: ({ dy, filter }, attrs, backend) =>
    inputGradient(dy, filter, geometry2d(attrs.inputShape, filter.shape, attrs, true), backend),
  DepthwiseConv2dNativeBackpropFilter: ({ x, dy }, attrs, backend) =>
    filterGradient(x, dy, attrs.filterShape, geometry2d(x.shape, attrs.filterShape, attrs, true), backend),
  Conv3D: ({ x, filter }, attrs, backend) => forward({ x, filter }, geometry3d(x.shape, filter.shape, attrs), backend),
  Conv3DBackpropInputV2: ({ dy, filter }, attrs, backend) =>
    inputGradient(dy, filter, geometry3d(attrs.inputShape, filter.shape, attrs), backend),
  Conv3DBackpropFilterV2: ({ x, dy }, attrs, backend) =>
    filterGradient(x, dy, attrs.filterShape, geometry3d(x.shape, attrs.filterShape, attrs), backend),
  FusedConv2D: (inputs, attrs, backend) => fused(inputs, attrs, false, backend),
  FusedDepthwiseConv2D: (inputs, attrs, backend) => fused(inputs, attrs, true, backend),
};
