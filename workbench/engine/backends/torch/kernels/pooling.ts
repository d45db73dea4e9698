// Average and maximum pooling in two and three dimensions, with their gradients.

import { backend_util, type TensorInfo } from "@tensorflow/tfjs-core";
import type { Handle } from "../addon.ts";
import { aten, STRIDED } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import type { Attributes, KernelTable } from "../register.ts";
import { paddingsFor } from "./convolution-geometry.ts";
import { upload } from "./creation.ts";

const constantPad = aten("constant_pad_nd");
const permute = aten("permute");
const divide = aten("div", "Tensor");
const cast = aten("to", "dtype");
const zeros = aten("zeros");

/** The operators of one dimensionality. */
const operators = (n: 2 | 3) => ({
  average: aten(`avg_pool${n}d`),
  averageBackward: aten(`avg_pool${n}d_backward`),
  maximum: aten<Handle[]>(`max_pool${n}d_with_indices`),
  maximumBackward: aten(`max_pool${n}d_with_indices_backward`),
});
const OPERATORS = { 2: operators(2), 3: operators(3) };

/** The windows of a pooling kernel, spatial axes in order. `before` is the padding before each axis. */
interface Window {
  dimensions: 2 | 3;
  filter: number[];
  strides: number[];
  dilations: number[];
  inSpatial: number[];
  outSpatial: number[];
  before: number[];
}

function window2d(shape: number[], { filterSize, strides, dilations = 1, pad, dimRoundingMode }: Attributes): Window {
  const info = backend_util.computePool2DInfo(
    shape as [number, number, number, number],
    filterSize,
    strides,
    dilations,
    pad,
    dimRoundingMode,
  );
  return {
    dimensions: 2,
    filter: [info.filterHeight, info.filterWidth],
    strides: [info.strideHeight, info.strideWidth],
    dilations: [info.dilationHeight, info.dilationWidth],
    inSpatial: [info.inHeight, info.inWidth],
    outSpatial: [info.outHeight, info.outWidth],
    before: [info.padInfo.top, info.padInfo.left],
  };
}

function window3d(shape: number[], { filterSize, strides, dilations = 1, pad, dimRoundingMode }: Attributes): Window {
  const info = backend_util.computePool3DInfo(
    shape as [number, number, number, number, number],
    filterSize,
    strides,
    dilations,
    pad,
    dimRoundingMode,
  );
  return {
    dimensions: 3,
    filter: [info.filterDepth, info.filterHeight, info.filterWidth],
    strides: [info.strideDepth, info.strideHeight, info.strideWidth],
    dilations: [info.dilationDepth, info.dilationHeight, info.dilationWidth],
    inSpatial: [info.inDepth, info.inHeight, info.inWidth],
    outSpatial: [info.outDepth, info.outHeight, info.outWidth],
    before: [info.padInfo.front, info.padInfo.top, info.padInfo.left],
  };
}

/** The padding with which exactly as many windows fit as the output has, last axis first, as ATen expects. */
const paddings = (w: Window): number[] => paddingsFor(w.inSpatial, w.outSpatial, w).reverse().flat();

const channelsFirst = (x: TensorInfo | Handle, { dimensions: n }: Window) =>
  permute(x, n === 2 ? [0, 3, 1, 2] : [0, 4, 1, 2, 3]);
const channelsLast = (x: Handle, { dimensions: n }: Window) => permute(x, n === 2 ? [0, 2, 3, 1] : [0, 2, 3, 4, 1]);

/** x in float32 with channels first, padded with `value`. */
function prepare(x: TensorInfo, w: Window, value: number): Handle {
  const float = x.dtype === "float32" ? x : cast(x, "float32");
  const first = channelsFirst(float, w);
  const around = paddings(w);
  return around.some((n) => n !== 0) ? constantPad(first, around, value) : first;
}

/** Removes the padding from a gradient and moves the channels to the end. */
const withoutPadding = (x: Handle, w: Window) =>
  channelsLast(
    constantPad(
      x,
      paddings(w).map((n) => -n),
      0,
    ),
    w,
  );

/** The number of inputs in each window without padding, at least 1, as a tensor (…spatial, 1). */
function counts(w: Window, backend: TorchBackend): TensorInfo {
  const axes = w.inSpatial.map((length, i) =>
    Array.from({ length: w.outSpatial[i] as number }, (_, out) => {
      const start = out * (w.strides[i] as number) - (w.before[i] as number);
      return Math.max(0, Math.min(start + (w.filter[i] as number), length) - Math.max(start, 0));
    }),
  );
  const total = axes.reduce<number[]>((products, axis) => products.flatMap((p) => axis.map((n) => p * n)), [1]);
  // A window that is entirely in the padding has the average 0.
  return upload(
    Float32Array.from(total, (n) => Math.max(n, 1)),
    [...w.outSpatial, 1],
    "float32",
    backend,
  );
}

/** Divides each window's sum by its number of inputs. */
function perSample(sum: Handle | TensorInfo, w: Window, backend: TorchBackend): Handle {
  const divisor = counts(w, backend);
  try {
    return divide(sum, divisor);
  } finally {
    backend.disposeData(divisor.dataId);
  }
}

/** The empty result when no window fits along some axis: (batch, …spatial, channels). */
function noWindows(x: TensorInfo, w: Window, backend: TorchBackend): Handle | undefined {
  if (!w.outSpatial.includes(0)) return undefined;
  return zeros([x.shape[0] as number, ...w.outSpatial, x.shape.at(-1) as number], x.dtype, STRIDED, backend.device);
}

const zerosFor = (w: Window) => w.filter.map(() => 0);

function average(x: TensorInfo, w: Window, backend: TorchBackend): Handle {
  const none = noWindows(x, w, backend);
  if (none !== undefined) return none;
  const pool = OPERATORS[w.dimensions].average;
  const sum = pool(prepare(x, w, 0), w.filter, w.strides, zerosFor(w), false, true, 1);
  const mean = perSample(channelsLast(sum, w), w, backend);
  return x.dtype === "int32" ? cast(mean, "int32") : mean;
}

function averageGradient(dy: TensorInfo, x: TensorInfo, w: Window, backend: TorchBackend): Handle {
  const backward = OPERATORS[w.dimensions].averageBackward;
  const shares = channelsFirst(perSample(dy, w, backend), w);
  return withoutPadding(backward(shares, prepare(x, w, 0), w.filter, w.strides, zerosFor(w), false, true, 1), w);
}

function maximum(x: TensorInfo, w: Window, backend: TorchBackend): Handle {
  const none = noWindows(x, w, backend);
  if (none !== undefined) return none;
  const pool = OPERATORS[w.dimensions].maximum;
  const [values] = pool(prepare(x, w, Number.NEGATIVE_INFINITY), w.filter, w.strides, zerosFor(w), w.dilations) as [
    Handle,
  ];
  const result = channelsLast(values, w);
  return x.dtype === "float32" ? result : cast(result, x.dtype);
}

function maximumGradient(dy: TensorInfo, x: TensorInfo, w: Window): Handle {
  const { maximum: pool, maximumBackward: backward } = OPERATORS[w.dimensions];
  const input = prepare(x, w, Number.NEGATIVE_INFINITY);
  const [, positions] = pool(input, w.filter, w.strides, zerosFor(w), w.dilations) as [Handle, Handle];
  const first = channelsFirst(dy, w);
  return withoutPadding(backward(first, input, w.filter, w.strides, zerosFor(w), w.dilations, false, positions), w);
}

export const pooling: KernelTable = {
  AvgPool: ({ x }, attrs, backend) => average(x, window2d(x.shape, attrs), backend),
  AvgPoolGrad: ({ dy, input }, attrs, backend) => averageGradient(dy, input, window2d(input.shape, attrs), backend),
  AvgPool3D: ({ x }, attrs, backend) => average(x, window3d(x.shape, attrs), backend),
  AvgPool3DGrad: ({ dy, input }, attrs, backend) => averageGradient(dy, input, window3d(input.shape, attrs), backend),
  MaxPool: ({ x }, attrs, backend) => maximum(x, window2d(x.shape, attrs), backend),
  MaxPoolGrad: ({ dy, input }, attrs) => maximumGradient(dy, input, window2d(input.shape, attrs)),
  MaxPool3D: ({ x }, attrs, backend) => maximum(x, window3d(x.shape, attrs), backend),
  MaxPool3DGrad: ({ dy, input }, attrs) => maximumGradient(dy, input, window3d(input.shape, attrs)),
};
