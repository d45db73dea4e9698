// Kernels that move values without changing them: reshape, transpose, slice, join, split, pad, tile, reverse. Results
// share memory with their input if ATen supports it. This is safe because tensors are immutable.

import { backend_util, slice_util, type TensorInfo, util } from "@tensorflow/tfjs-core";
import type { Handle } from "../addon.ts";
import { aten, CONTIGUOUS_FORMAT, halfHandleOf } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import type { KernelTable } from "../register.ts";
import { sameData, upload } from "./creation.ts";

const reshape = aten("reshape");
const permute = aten("permute");
const slice = aten("slice", "Tensor");
const contiguous = aten("contiguous");
const flip = aten("flip");
const concatenate = aten("cat");
const stack = aten("stack");
const unbind = aten<Handle[]>("unbind", "int");
const splitWithSizes = aten<Handle[]>("split_with_sizes");
const repeat = aten("repeat");
const constantPad = aten("constant_pad_nd");
const indexSelect = aten("index_select");
const diagonal = aten("diag");
const cloneAs = aten("clone");

// A slice that is this many times smaller than its source is copied, because a view would keep the whole source in
// memory.
const VIEW_SHARE = 8;
/** Pads each axis by `paddings[axis]`; negative numbers cut. */
export function padded(
  x: TensorInfo | Handle,
  paddings: readonly (readonly [number, number])[],
  value: number,
): Handle {
  // ATen counts axes from the last.
  return constantPad(x, [...paddings].reverse().flat(), value);
}

/** Selects `positions` along an axis. */
function pick(x: TensorInfo | Handle, axis: number, positions: number[], backend: TorchBackend): Handle {
  const index = upload(Int32Array.from(positions), [positions.length], "int32", backend);
  try {
    return indexSelect(x, axis, index);
  } finally {
    backend.disposeData(index.dataId);
  }
}

function sliced(x: TensorInfo | Handle, shape: readonly number[], begin: number[], size: number[]): Handle {
  let result: Handle | TensorInfo = x;
  for (let axis = 0; axis < begin.length; axis++) {
    const from = begin[axis] as number;
    const count = size[axis] as number;
    if (from !== 0 || count !== shape[axis]) result = slice(result, axis, from, from + count);
  }
  const small = util.sizeFromShape(size) * VIEW_SHARE <= util.sizeFromShape([...shape]);
  return small || result === x ? cloneAs(result, CONTIGUOUS_FORMAT) : (result as Handle);
}

/** A strided slice. Strides may be negative. */
function stridedSlice(x: TensorInfo, begin: number[], end: number[], strides: number[]): Handle {
  let result: Handle | TensorInfo = x;
  for (let axis = 0; axis < strides.length; axis++) {
    const [from, to, stride] = [begin[axis] as number, end[axis] as number, strides[axis] as number];
    if (stride > 0) {
      result = slice(result, axis, from, to, stride);
    } else {
      const last = (x.shape[axis] as number) - 1;
      result = slice(flip(result, [axis]), axis, last - from, last - to, -stride);
    }
  }
  return contiguous(result);
}

/**
 * The position in the source of each row after padding. Rows are reflected at the edges; `symmetric` also repeats the
 * edge row.
 */
function mirrored(length: number, [before, after]: [number, number], mode: "reflect" | "symmetric"): number[] {
  const offset = mode === "reflect" ? 0 : 1;
  const positions: number[] = [];
  for (let i = -before; i < length + after; i++) {
    if (i < 0) positions.push(-i - offset);
    else if (i >= length) positions.push(2 * length - 2 + offset - i);
    else positions.push(i);
  }
  return positions;
}

const list = (inputs: object): TensorInfo[] => Object.values(inputs) as TensorInfo[];

export const shapes: KernelTable = {
  Reshape: ({ x }, { shape }, backend) => {
    const source = x;
    const size = util.sizeFromShape(source.shape);
    const target = util.inferFromImplicitShape(shape, size);
    util.assert(
      size === util.sizeFromShape(target),
      () => `Reshape: the new shape (${target}) has ${util.sizeFromShape(target)} elements, the tensor has ${size}`,
    );
    return source.dtype === "string" ? sameData(source, target, backend) : reshape(source, target);
  },
  ExpandDims: ({ input }, { dim }, backend) => {
    const source = input;
    util.assert(
      dim >= -(source.shape.length + 1),
      () => `Axis must be in the interval [${-(source.shape.length + 1)}, ${source.shape.length}]`,
    );
    const shape = source.shape.slice();
    shape.splice(dim < 0 ? source.shape.length + dim + 1 : dim, 0, 1);
    return source.dtype === "string" ? sameData(source, shape, backend) : reshape(source, shape);
  },
  Transpose: ({ x }, { perm }) => permute(x, perm),
  Slice: ({ x }, { begin, size }) => {
    const [from, count] = slice_util.parseSliceParams(x as TensorInfo as never, begin, size);
    slice_util.assertParamsValid(x as TensorInfo as never, from as number[], count as number[]);
    // A slice of a weight in half precision stays in half precision, so that only the slice is converted when it is used.
    return sliced(halfHandleOf(x) ?? x, x.shape, from as number[], count as number[]);
  },
  StridedSlice: ({ x }, attrs) => {
    const source = x;
    const { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask } = attrs;
    const info = slice_util.sliceInfo(
      source.shape,
      begin,
      end,
      strides,
      beginMask,
      endMask,
      ellipsisMask,
      newAxisMask,
      shrinkAxisMask,
    );
    if (info.isIdentity) return reshape(source, info.finalShape);
    if (info.sliceDim0 || info.isSimpleSlice) {
      const size = slice_util.computeOutShape(info.begin, info.end, info.strides);
      return reshape(sliced(source, source.shape, info.begin, size), info.finalShape);
    }
    return reshape(stridedSlice(source, info.begin, info.end, info.strides), info.finalShape);
  },
  Concat: (inputs, { axis }) => {
    const tensors = list(inputs);
    const [first] = tensors as [TensorInfo];
    const [dim] = util.parseAxisParam(axis, first.shape) as [number];
    backend_util.assertParamsConsistent(
      tensors.map((t) => t.shape),
      dim,
    );
    return concatenate(tensors, dim);
  },
  Pack: (inputs, { axis }) => {
    const tensors = list(inputs);
    const [first] = tensors as [TensorInfo];
    for (const tensor of tensors) {
      util.assertShapesMatch(first.shape, tensor.shape, "All tensors passed to stack must have matching shapes");
      util.assert(first.dtype === tensor.dtype, () => "All tensors passed to stack must have matching dtypes");
    }
    return stack(tensors, axis);
  },
  Unpack: ({ value }, { axis }) => unbind(value, axis),
  SplitV: ({ x }, { numOrSizeSplits, axis }) => {
    const [dim] = util.parseAxisParam(axis, x.shape) as [number];
    return splitWithSizes(x, backend_util.prepareSplitSize(x as never, numOrSizeSplits, dim), dim);
  },
  PadV2: ({ x }, { paddings, constantValue }) => padded(x, paddings, constantValue),
  MirrorPad: ({ x }, { paddings, mode }, backend) => {
    const { shape } = x;
    return shape.reduce<Handle>(
      (result, length, axis) => pick(result, axis, mirrored(length, paddings[axis], mode), backend),
      cloneAs(x),
    );
  },
  Tile: ({ x }, { reps }) => repeat(x, reps),
  Reverse: ({ x }, { dims }) => flip(x, util.parseAxisParam(dims, x.shape)),
  Diag: ({ x }) => {
    const { shape } = x;
    return reshape(diagonal(reshape(x, [-1])), [...shape, ...shape]);
  },
  BatchToSpaceND: ({ x }, { blockShape, crops }) => {
    const source = x;
    const product = util.sizeFromShape(blockShape);
    const open = backend_util.getReshaped(source.shape, blockShape, product);
    const order = backend_util.getPermuted(open.length, blockShape.length);
    const closed = backend_util.getReshapedPermuted(source.shape, blockShape, product);
    const begin = backend_util.getSliceBeginCoords(crops, blockShape.length);
    const size = backend_util.getSliceSize(closed, crops, blockShape.length);
    const joined = reshape(permute(reshape(source, open), order), closed);
    return sliced(joined, closed, begin, size);
  },
  SpaceToBatchND: ({ x }, { blockShape, paddings }) => {
    const source = x;
    const product = util.sizeFromShape(blockShape);
    const rest = source.shape.length - 1 - blockShape.length;
    const all: [number, number][] = [
      [0, 0],
      ...paddings,
      ...Array.from({ length: rest }, (): [number, number] => [0, 0]),
    ];
    const shape = source.shape.map((n, i) => n + (all[i] as [number, number])[0] + (all[i] as [number, number])[1]);
    const open = backend_util.getReshaped(shape, blockShape, product, false);
    const order = backend_util.getPermuted(open.length, blockShape.length, false);
    const closed = backend_util.getReshapedPermuted(shape, blockShape, product, false);
    return reshape(permute(reshape(padded(source, all, 0), open), order), closed);
  },
  DepthToSpace: ({ x }, { blockSize, dataFormat }) => {
    const [batch, a, b, c] = x.shape as [number, number, number, number];
    const [height, width, depth] = dataFormat === "NHWC" ? [a, b, c] : [b, c, a];
    const inner = depth / (blockSize * blockSize);
    if (dataFormat === "NHWC") {
      const open = reshape(x, [batch, height, width, blockSize, blockSize, inner]);
      return reshape(permute(open, [0, 1, 3, 2, 4, 5]), [batch, height * blockSize, width * blockSize, inner]);
    }
    const open = reshape(x, [batch, blockSize, blockSize, inner, height, width]);
    return reshape(permute(open, [0, 3, 4, 1, 5, 2]), [batch, inner, height * blockSize, width * blockSize]);
  },
};
