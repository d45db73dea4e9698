// The geometry of convolutions: strides, dilations and padding of TensorFlow.js's kernels in ATen's terms. This file
// uses no tensors.

import { backend_util } from "@tensorflow/tfjs-core";
import type { Attributes } from "../register.ts";

/** One convolution in ATen's terms; spatial axes in order. */
export interface Geometry {
  batch: number;
  inChannels: number;
  inSpatial: number[];
  outSpatial: number[];
  strides: number[];
  dilations: number[];
  /** padding of the input at each side; a negative number cuts off what no window reaches */
  paddings: [number, number][];
  groups: number;
  /** whether each channel has filters of its own, stored as (…spatial, channels, multiplier) */
  depthwise: boolean;
  channelsLast: boolean;
}

/** Padding of each spatial axis with which exactly as many windows fit as the output has; negative numbers cut. */
export function paddingsFor(
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

/** The geometry of a Conv2D kernel, from its shapes and attributes. */
export function geometry2d(xShape: number[], filterShape: number[], attrs: Attributes, depthwise = false): Geometry {
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
    depthwise,
    channelsLast: (dataFormat ?? "NHWC") === "NHWC",
  };
}

/** The geometry of a Conv3D kernel, from its shapes and attributes. */
export function geometry3d(
  xShape: number[],
  filterShape: number[],
  { strides, dilations = 1, pad }: Attributes,
): Geometry {
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
    depthwise: false,
    channelsLast: true,
  };
}
