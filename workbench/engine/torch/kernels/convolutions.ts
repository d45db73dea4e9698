// Convolutions in two and three dimensions, grouped and depthwise, with their gradients.
// tfjs stores channels last, ATen names channels first: axes are permuted as views, so nothing is copied for it.

import { backend_util, type TensorInfo } from "@tensorflow/tfjs-core";
import type { Handle } from "../addon.ts";
import { aten } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import type { Attributes, Inputs, KernelTable } from "../register.ts";
import { activate } from "./elementwise.ts";

const convolution = aten("convolution");
const convolutionBackward = aten<Handle[]>("convolution_backward");
const constantPad = aten("constant_pad_nd");
const permute = aten("permute");
const alias = aten("alias");
const reshape = aten("reshape");
const add = aten("add", "Tensor");
const narrow = aten("narrow");
const empty = aten("empty", "memory_format");

const STRIDED = 0; // c10::Layout

/** One convolution in ATen's terms; spatial axes in order. */
interface Geometry {
  batch: number;
  inChannels: number;
  inSpatial: number[];
  outSpatial: number[];
  strides: number[];
  dilations: number[];
  /** how much the input is padded at each side; negative cuts what no window reaches */
  paddings: [number, number][];
  groups: number;
  channelsLast: boolean;
}

/** Padding after the input such that exactly `out` windows fit. */
function paddingsFor(
  inSpatial: number[],
  outSpatial: number[],
  window: { strides: number[]; filter: number[]; dilations: number[]; before: number[] },
): [number, number][] {
  return inSpatial.map((size, i) => {
    const extent = ((window.filter[i] as number) - 1) * (window.dilations[i] as number) + 1;
    const before = window.before[i] as number;
    return [before, ((outSpatial[i] as number) - 1) * (window.strides[i] as number) + extent - size - before];
  });
}

function geometry2d(xShape: number[], filterShape: number[], attrs: Attributes, depthwise: boolean): Geometry {
  const { strides, pad, dimRoundingMode, dataFormat } = attrs;
  const info = backend_util.computeConv2DInfo(
    xShape as [number, number, number, number],
    filterShape as [number, number, number, number],
    strides,
    attrs.dilations ?? 1,
    pad,
    dimRoundingMode,
    depthwise,
    backend_util.convertConv2DDataFormat(dataFormat ?? "NHWC"),
  );
  const inSpatial = [info.inHeight, info.inWidth];
  const outSpatial = [info.outHeight, info.outWidth];
  const window = {
    strides: [info.strideHeight, info.strideWidth],
    filter: [info.filterHeight, info.filterWidth],
    dilations: [info.dilationHeight, info.dilationWidth],
    before: [info.padInfo.top, info.padInfo.left],
  };
  return {
    batch: info.batchSize,
    inChannels: info.inChannels,
    inSpatial,
    outSpatial,
    strides: window.strides,
    dilations: window.dilations,
    paddings: paddingsFor(inSpatial, outSpatial, window),
    groups: depthwise ? info.inChannels : info.inChannels / (filterShape[2] as number),
    channelsLast: (dataFormat ?? "NHWC") === "NHWC",
  };
}

function geometry3d(xShape: number[], filterShape: number[], { strides, dilations = 1, pad }: Attributes): Geometry {
  const info = backend_util.computeConv3DInfo(
    xShape as [number, number, number, number, number],
    filterShape as [number, number, number, number, number],
    strides,
    dilations,
    pad,
  );
  const inSpatial = [info.inDepth, info.inHeight, info.inWidth];
  const outSpatial = [info.outDepth, info.outHeight, info.outWidth];
  const window = {
    strides: [info.strideDepth, info.strideHeight, info.strideWidth],
    filter: [info.filterDepth, info.filterHeight, info.filterWidth],
    dilations: [info.dilationDepth, info.dilationHeight, info.dilationWidth],
    before: [info.padInfo.front, info.padInfo.top, info.padInfo.left],
  };
  return {
    batch: info.batchSize,
    inChannels: info.inChannels,
    inSpatial,
    outSpatial,
    strides: window.strides,
    dilations: window.dilations,
    paddings: paddingsFor(inSpatial, outSpatial, window),
    groups: info.inChannels / (filterShape[3] as number),
    channelsLast: true,
  };
}

const spatialAxes = (g: Geometry) => g.inSpatial.map((_, i) => i);

/** (batch, …spatial, channels) → (batch, channels, …spatial) */
const channelsFirst = (x: TensorInfo | Handle, g: Geometry): Handle =>
  g.channelsLast ? permute(x, [0, g.inSpatial.length + 1, ...spatialAxes(g).map((i) => i + 1)]) : alias(x);

const channelsBack = (x: Handle, g: Geometry): Handle =>
  g.channelsLast ? permute(x, [0, ...spatialAxes(g).map((i) => i + 2), 1]) : x;

/** (…spatial, in, out) → (out, in, …spatial); depthwise (h, w, in, multiplier) → (in · multiplier, 1, h, w) */
function filterFirst(filter: TensorInfo, depthwise: boolean): Handle {
  if (!depthwise) {
    const rank = filter.shape.length;
    return permute(filter, [rank - 1, rank - 2, ...Array.from({ length: rank - 2 }, (_, i) => i)]);
  }
  const [height, width, channels, multiplier] = filter.shape as [number, number, number, number];
  return reshape(permute(filter, [2, 3, 0, 1]), [channels * multiplier, 1, height, width]);
}

function filterBack(filter: Handle, shape: number[], depthwise: boolean): Handle {
  if (!depthwise) {
    const rank = shape.length;
    return permute(filter, [...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1, 0]);
  }
  const [height, width, channels, multiplier] = shape as [number, number, number, number];
  return permute(reshape(filter, [channels, multiplier, height, width]), [2, 3, 0, 1]);
}

const isPlain = (g: Geometry) => g.paddings.every(([before, after]) => before === after && before >= 0);

/** Padding that ATen's convolution does itself, and what has to be done before. */
function split(g: Geometry) {
  const flat = [...g.paddings].reverse().flat();
  return isPlain(g)
    ? { inner: g.paddings.map(([before]) => before), outer: undefined }
    : { inner: g.paddings.map(() => 0), outer: flat };
}

function forward(
  x: TensorInfo,
  filter: TensorInfo,
  bias: TensorInfo | undefined,
  g: Geometry,
  depthwise = false,
): Handle {
  const { inner, outer } = split(g);
  const input = channelsFirst(x, g);
  const y = convolution(
    outer ? constantPad(input, outer, 0) : input,
    filterFirst(filter, depthwise),
    bias ?? null,
    g.strides,
    inner,
    g.dilations,
    false,
    g.strides.map(() => 0),
    g.groups,
  );
  return channelsBack(y, g);
}

/** A gradient larger than the convolution's output, as a transposed convolution may give: only what belongs to it. */
function reached(first: Handle, dy: TensorInfo, g: Geometry): Handle {
  const offset = g.channelsLast ? 1 : 2;
  return g.outSpatial.reduce<Handle>(
    (result, size, i) => ((dy.shape[i + offset] as number) > size ? narrow(result, i + 2, 0, size) : result),
    first,
  );
}

/** Gradient to the input or the filter, whichever is asked; the operand that is not there stands as an empty tensor. */
function backward(
  dy: TensorInfo,
  { x, filter, g }: { x: TensorInfo | Handle; filter: Handle; g: Geometry },
  wanted: "input" | "filter",
): Handle {
  const { inner, outer } = split(g);
  const input = wanted === "filter" && outer ? constantPad(x, outer, 0) : x;
  const [dx, df] = convolutionBackward(
    reached(channelsFirst(dy, g), dy, g),
    input,
    filter,
    null,
    g.strides,
    inner,
    g.dilations,
    false,
    g.strides.map(() => 0),
    g.groups,
    [wanted === "input", wanted === "filter", false],
  ) as [Handle, Handle];
  if (wanted === "filter") return df;
  const cut = outer?.map((padding) => -padding);
  return channelsBack(cut ? constantPad(dx, cut, 0) : dx, g);
}

function inputGradient(
  dy: TensorInfo,
  filter: TensorInfo,
  g: Geometry,
  depthwise: boolean,
  backend: TorchBackend,
): Handle {
  const padded = isPlain(g)
    ? g.inSpatial
    : g.inSpatial.map((size, i) => size + (g.paddings[i]?.[0] ?? 0) + (g.paddings[i]?.[1] ?? 0));
  const x = empty([g.batch, g.inChannels, ...padded], "float32", STRIDED, backend.device);
  return backward(dy, { x, filter: filterFirst(filter, depthwise), g }, "input");
}

function filterGradient(
  x: TensorInfo,
  dy: TensorInfo,
  { shape, g, depthwise }: { shape: number[]; g: Geometry; depthwise: boolean },
  backend: TorchBackend,
): Handle {
  const rank = shape.length;
  const first = depthwise
    ? [(shape[2] as number) * (shape[3] as number), 1, shape[0] as number, shape[1] as number]
    : [shape[rank - 1] as number, shape[rank - 2] as number, ...shape.slice(0, rank - 2)];
  const filter = empty(first, "float32", STRIDED, backend.device);
  return filterBack(backward(dy, { x: channelsFirst(x, g), filter, g }, "filter"), shape, depthwise);
}

function fused(inputs: Inputs, attrs: Attributes, depthwise: boolean): Handle {
  const x = inputs.x as TensorInfo;
  const filter = inputs.filter as TensorInfo;
  const g = geometry2d(x.shape, filter.shape, attrs, depthwise);
  // ATen adds a bias of one number a channel; tfjs also allows one that broadcasts.
  const { bias } = inputs;
  const simple = bias?.shape.length === 1 && bias.shape[0] !== 1;
  const y = forward(x, filter, simple ? bias : undefined, g, depthwise);
  const slopes = inputs.preluActivationWeights;
  const biased = bias && !simple ? add(y, channelVector(bias, g)) : y;
  return activate(biased, attrs.activation, {
    slopes: slopes && channelVector(slopes, g),
    alpha: attrs.leakyreluAlpha,
  });
}

/** A vector over channels, shaped to broadcast in NCHW. */
function channelVector(vector: TensorInfo, g: Geometry): TensorInfo {
  if (g.channelsLast || vector.shape.length !== 1) return vector;
  const handle = reshape(vector, [vector.shape[0] as number, 1, 1]);
  return { ...vector, dataId: { torch: { handle, references: 1 } } };
}

export const convolutions: KernelTable = {
  Conv2D: ({ x, filter }, attrs) => {
    const g = geometry2d(x.shape, filter.shape, attrs, false);
    return forward(x, filter, undefined, g);
  },
  Conv2DBackpropInput: ({ dy, filter }, attrs, backend) => {
    const g = geometry2d(attrs.inputShape, filter.shape, attrs, false);
    return inputGradient(dy, filter, g, false, backend);
  },
  Conv2DBackpropFilter: ({ x, dy }, attrs, backend) => {
    const g = geometry2d(x.shape, attrs.filterShape, attrs, false);
    return filterGradient(x, dy, { shape: attrs.filterShape, g, depthwise: false }, backend);
  },
  DepthwiseConv2dNative: ({ x, filter }, attrs) => {
    const g = geometry2d(x.shape, filter.shape, attrs, true);
    return forward(x, filter, undefined, g, true);
  },
  DepthwiseConv2dNativeBackpropInput: ({ dy, filter }, attrs, backend) => {
    const g = geometry2d(attrs.inputShape, filter.shape, attrs, true);
    return inputGradient(dy, filter, g, true, backend);
  },
  DepthwiseConv2dNativeBackpropFilter: ({ x, dy }, attrs, backend) => {
    const g = geometry2d(x.shape, attrs.filterShape, attrs, true);
    return filterGradient(x, dy, { shape: attrs.filterShape, g, depthwise: true }, backend);
  },
  Conv3D: ({ x, filter }, attrs) => forward(x, filter, undefined, geometry3d(x.shape, filter.shape, attrs)),
  Conv3DBackpropInputV2: ({ dy, filter }, attrs, backend) => {
    const g = geometry3d(attrs.inputShape, filter.shape, attrs);
    return inputGradient(dy, filter, g, false, backend);
  },
  Conv3DBackpropFilterV2: ({ x, dy }, attrs, backend) => {
    const g = geometry3d(x.shape, attrs.filterShape, attrs);
    return filterGradient(x, dy, { shape: attrs.filterShape, g, depthwise: false }, backend);
  },
  FusedConv2D: (inputs, attrs) => fused(inputs, attrs, false),
  FusedDepthwiseConv2D: (inputs, attrs) => fused(inputs, attrs, true),
};
