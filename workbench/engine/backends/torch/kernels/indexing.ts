// Kernels that read and write by index: gather, scatter, segment sums, sorting.

import { backend_util, gather_util, scatter_util, type TensorInfo, util } from "@tensorflow/tfjs-core";
import type { Handle } from "../addon.ts";
import { aten, STRIDED } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import type { KernelTable } from "../register.ts";
import { upload } from "./creation.ts";

const reshape = aten("reshape");
const permute = aten("permute");
const indexSelect = aten("index_select");
const indexAdd = aten("index_add_");
const indexCopy = aten("index_copy_");
const zeros = aten("zeros");
const clone = aten("clone");
const narrow = aten("narrow");
const add = aten("add", "Tensor");
const mul = aten("mul", "Tensor");
const mulScalar = aten("mul", "Scalar");
const sum = aten("sum", "dim_IntList");
const cast = aten("to", "dtype");
const arange = aten("arange");
const expand = aten("expand");
const lessScalar = aten("lt", "Scalar");
const greaterEqualScalar = aten("ge", "Scalar");
const logicalOr = aten("logical_or");
const maskedFill = aten("masked_fill", "Scalar");
const sortStable = aten<Handle[]>("sort", "stable");
const searchSorted = aten("searchsorted", "Tensor");

/** Row numbers (n) for indices (n, depth) into the leading axes of a tensor. */
function flatIndex(
  indices: TensorInfo,
  count: number,
  depth: number,
  strides: number[],
  backend: TorchBackend,
): Handle {
  const scale = upload(Int32Array.from(strides.slice(0, depth)), [depth], "int32", backend);
  try {
    return sum(mul(reshape(indices, [count, depth]), scale), [1], false, "int64");
  } finally {
    backend.disposeData(scale.dataId);
  }
}

/** Writes or adds rows to `base` in place. `base` is a handle that this kernel owns. */
function scattered(
  base: Handle,
  { indices, updates, shape }: { indices: TensorInfo; updates: TensorInfo; shape: number[] },
  write: (base: Handle, rows: Handle, values: Handle) => Handle,
  backend: TorchBackend,
): Handle {
  const { sliceRank, numUpdates, sliceSize, strides, outputSize } = scatter_util.calculateShapes(
    updates as never,
    indices as never,
    shape,
  );
  if (outputSize === 0) return reshape(base, shape);
  const rows = flatIndex(indices, numUpdates, sliceRank, strides, backend);
  const matrix = reshape(base, [outputSize / sliceSize, sliceSize]);
  return reshape(write(matrix, rows, reshape(updates, [numUpdates, sliceSize])), shape);
}

const addRows = (base: Handle, rows: Handle, values: Handle) => indexAdd(base, 0, rows, values);
const writeRows = (base: Handle, rows: Handle, values: Handle) => indexCopy(base, 0, rows, values);

function gather(x: TensorInfo, indices: TensorInfo, axis: number, batchDims: number, backend: TorchBackend): Handle {
  const info = backend_util.segment_util.collectGatherOpShapeInfo(x as never, indices as never, axis, batchDims);
  const { batchSize, outerSize, dimSize, sliceSize, outputShape } = info;
  if (batchSize === 1) {
    const rows = reshape(cast(indices, "int64"), [-1]);
    const picked = indexSelect(reshape(x, [outerSize, dimSize, sliceSize]), 1, rows);
    return reshape(picked, outputShape);
  }
  // Rows are indexed over all batches: position i of batch b is row b · dimSize + i.
  const count = util.sizeFromShape(indices.shape) / batchSize;
  const offsets = reshape(mulScalar(arange(batchSize, "int64", STRIDED, backend.device), dimSize), [batchSize, 1]);
  const rows = reshape(add(reshape(cast(indices, "int64"), [batchSize, count]), offsets), [-1]);
  const source = permute(reshape(x, [batchSize, outerSize, dimSize, sliceSize]), [0, 2, 1, 3]);
  const picked = indexSelect(reshape(source, [batchSize * dimSize, outerSize, sliceSize]), 0, rows);
  return reshape(permute(reshape(picked, [batchSize, count, outerSize, sliceSize]), [0, 2, 1, 3]), outputShape);
}

/**
 * Replaces ATen's error about an index by that of TensorFlow.js. On a GPU indices are not checked, because a check
 * would need a synchronization.
 */
function withinRange<T>(size: number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const { message } = error as Error;
    if (!/out of (DATA bounds|range|bounds)/.test(message)) throw error;
    const index = message.match(/id=(-?\d+)/)?.[1];
    throw new Error(`GatherV2: the index value ${index ?? "given"} is not in [0, ${size - 1}]`, { cause: error });
  }
}

export const indexing: KernelTable = {
  GatherV2: ({ x, indices }, { axis, batchDims }, backend) => {
    const source = x;
    const [dim] = util.parseAxisParam(axis, source.shape) as [number];
    return withinRange(source.shape[dim] as number, () => gather(source, indices, dim, batchDims ?? 0, backend));
  },
  GatherNd: ({ params, indices }, _, backend) => {
    const [shape, count, sliceSize, strides] = gather_util.prepareAndValidate(params as never, indices as never);
    const index = indices;
    const depth = index.shape[index.shape.length - 1] as number;
    const rows = flatIndex(index, count, depth, strides, backend);
    return reshape(indexSelect(reshape(params, [-1, sliceSize]), 0, rows), shape);
  },
  ScatterNd: ({ indices, updates }, { shape }, backend) => {
    const values = updates;
    const base = zeros(shape, values.dtype === "bool" ? "int32" : values.dtype, STRIDED, backend.device);
    return scattered(base, { indices: indices, updates: values, shape }, addRows, backend);
  },
  TensorScatterUpdate: ({ tensor, indices, updates }, _, backend) => {
    const target = tensor;
    const operands = { indices: indices, updates: updates, shape: target.shape };
    return scattered(clone(target, 0), operands, writeRows, backend);
  },
  SparseToDense: ({ sparseIndices, sparseValues, defaultValue }, { outputShape }, backend) => {
    const indices = sparseIndices;
    const values = sparseValues;
    const count = indices.shape.length > 0 ? (indices.shape[0] as number) : 1;
    const base = clone(expand(reshape(defaultValue, []), outputShape), 0);
    const depth = indices.shape.length > 1 ? (indices.shape[1] as number) : 1;
    const { strides } = scatter_util.calculateShapes(
      { ...values, rank: 1, shape: [count] } as never,
      { ...indices, rank: 2, shape: [count, depth] } as never,
      outputShape,
    );
    const rows = flatIndex(indices, count, depth, strides, backend);
    const updates = expand(reshape(values, values.shape.length === 0 ? [1] : values.shape), [count]);
    return reshape(indexCopy(reshape(base, [-1]), 0, rows, updates), outputShape);
  },
  UnsortedSegmentSum: ({ x, segmentIds }, { numSegments }, backend) => {
    const source = x;
    const ids = segmentIds;
    const rest = source.shape.slice(ids.shape.length);
    const width = util.sizeFromShape(rest);
    const rows = util.sizeFromShape(ids.shape);
    // Ids out of range go to an additional segment, which is cut off.
    const outside = logicalOr(lessScalar(ids, 0), greaterEqualScalar(ids, numSegments));
    const targets = reshape(maskedFill(cast(ids, "int64"), outside, numSegments), [rows]);
    const dtype = source.dtype === "bool" ? "int32" : source.dtype;
    const total = zeros([numSegments + 1, width], dtype, STRIDED, backend.device);
    const summed = indexAdd(total, 0, targets, reshape(source, [rows, width]));
    return reshape(clone(narrow(summed, 0, 0, numSegments)), [numSegments, ...rest]);
  },
  TopK: ({ x }, { k }) => {
    const source = x;
    // A stable sort keeps equal values in the order of their positions, as tfjs does.
    const [values, positions] = sortStable(source, true, -1, true) as [Handle, Handle];
    const top = (sorted: Handle) => clone(narrow(sorted, -1, 0, k));
    return [top(values), cast(top(positions), "int32")];
  },
  SearchSorted: ({ sortedSequence, values }, { side }) => searchSorted(sortedSequence, values, true, side === "right"),
};
