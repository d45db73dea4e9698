// Every kernel of the torch backend: the tables over ATen, and the kernels that run on the host instead.

import { registerHostKernels } from "../../../kernels/host-fallback.ts";
import { BACKEND_NAME, inFloat32, registerTable } from "../register.ts";
import { convolutions } from "./convolutions.ts";
import { creation } from "./creation.ts";
import { elementwise } from "./elementwise.ts";
import { fused } from "./fused.ts";
import { images } from "./images.ts";
import { indexing } from "./indexing.ts";
import { linearAlgebra } from "./linear-algebra.ts";
import { normalization } from "./normalization.ts";
import { pooling } from "./pooling.ts";
import { products } from "./products.ts";
import { reductions } from "./reductions.ts";
import { shapes } from "./shapes.ts";

/**
 * Kernels that ATen has no counterpart for, and that no model or training here uses: they read their inputs back and run
 * on TensorFlow.js's pure-JavaScript kernels.
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

/** Kernels that may get strings, which only the host can hold. */
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

/** Registers them once. */
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
    fused,
    linearAlgebra,
    ...[reductions, indexing, pooling, normalization, images].map(inFloat32),
  ];
  for (const table of tables) registerTable(table);
  await registerHostKernels(BACKEND_NAME, HOST_KERNELS);
  await registerHostKernels(BACKEND_NAME, STRING_KERNELS, (inputs) => inputs.some(({ dtype }) => dtype === "string"));
}
