// All kernels of the torch backend: the tables over ATen, and the kernels that run on the host instead.

import { registerHostKernels } from "../../shared/host-fallback.ts";
import { BACKEND_NAME, inFloat32, registerTable } from "../register.ts";
import { convolutions } from "./convolutions.ts";
import { creation } from "./creation.ts";
import { elementwise } from "./elementwise.ts";
import { fusedAttention } from "./fused-attention.ts";
import { fusedDecoder } from "./fused-decoder.ts";
import { fusedInPlace } from "./fused-in-place.ts";
import { fusedLayers, fusedLoss } from "./fused-layers.ts";
import { gblr } from "./gblr.ts";
import { images } from "./images.ts";
import { indexing } from "./indexing.ts";
import { linearAlgebra, products } from "./linear-algebra.ts";
import { pooling } from "./pooling.ts";
import { reductions } from "./reductions.ts";
import { shapes } from "./shapes.ts";

/**
 * Kernels without a counterpart in ATen. No model or training here uses them, so they run in TensorFlow.js's plain
 * JavaScript on the host.
 */
const HOST_KERNELS = [
  "Bincount",
  "BroadcastArgs",
  "CropAndResize",
  "DenseBincount",
  "Dilation2D",
  "Dilation2DBackpropFilter",
  "Dilation2DBackpropInput",
  "LRN",
  "LRNGrad",
  "MaxPoolWithArgmax",
  "Multinomial",
  "NonMaxSuppressionV3",
  "NonMaxSuppressionV4",
  "NonMaxSuppressionV5",
  "RaggedGather",
  "RaggedRange",
  "RaggedTensorToTensor",
  "RotateWithOffset",
  "SparseFillEmptyRows",
  "SparseReshape",
  "SparseSegmentMean",
  "SparseSegmentSum",
  "StaticRegexReplace",
  "StringNGrams",
  "StringSplit",
  "StringToHashBucketFast",
  "Transform",
  "Unique",
];

/** Kernels that the host runs when an operand holds strings, which only the host can hold. */
const STRING_KERNELS = [
  "Concat",
  "Equal",
  "Greater",
  "GreaterEqual",
  "Less",
  "LessEqual",
  "GatherNd",
  "GatherV2",
  "NotEqual",
  "Pack",
  "PadV2",
  "Reverse",
  "ScatterNd",
  "Slice",
  "SparseToDense",
  "SplitV",
  "StridedSlice",
  "Tile",
  "Transpose",
  "Unpack",
];

let registered: Promise<void> | undefined;

/** Registers all kernels; later calls do nothing. */
export function registerKernels(): Promise<void> {
  registered ??= register();
  return registered;
}

async function register(): Promise<void> {
  const tables = [
    elementwise,
    creation,
    shapes,
    products,
    convolutions,
    linearAlgebra,
    fusedLayers,
    fusedLoss,
    fusedAttention,
    fusedDecoder,
    fusedInPlace,
    gblr,
    ...[reductions, indexing, pooling, images].map(inFloat32),
  ];
  for (const table of tables) registerTable(table);
  await registerHostKernels(BACKEND_NAME, HOST_KERNELS);
  await registerHostKernels(BACKEND_NAME, STRING_KERNELS, (inputs) => inputs.some(({ dtype }) => dtype === "string"));
}
