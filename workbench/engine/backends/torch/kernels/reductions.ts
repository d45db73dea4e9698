// Kernels along axes: sums, extremes, truth values, running totals, softmax, batch normalization with given statistics,
// and Fourier transforms along the last axis.

import { type TensorInfo, util } from "@tensorflow/tfjs-core";
import type { Handle } from "../addon.ts";
import { aten } from "../aten.ts";
import type { KernelTable, TorchKernel } from "../register.ts";

const sum = aten("sum", "dim_IntList");
const mean = aten("mean", "dim");
const amax = aten("amax");
const amin = aten("amin");
const prod = aten("prod", "dim_int");
const all = aten("all", "dim");
const any = aten("any", "dim");
const argmax = aten("argmax");
const argmin = aten("argmin");
const clone = aten("clone");
const cast = aten("to", "dtype");
const permute = aten("permute");
const reshape = aten("reshape");
const flip = aten("flip");
const isNan = aten("isnan");
const maskedFill = aten("masked_fill", "Scalar");
const cumsum = aten("cumsum");
const cumprod = aten("cumprod");
const narrow = aten("narrow");
const concatenate = aten("cat");
const fullLike = aten("full_like");
const softmax = aten("_softmax");
const rsqrt = aten("rsqrt");
const addScalar = aten("add", "Scalar");
const mul = aten("mul", "Tensor");
const sub = aten("sub", "Tensor");
const negate = aten("neg");
const addProduct = aten("addcmul");
const fft = aten("fft_fft");
const ifft = aten("fft_ifft");

/** The dtype of a sum; undefined keeps the operand's. TensorFlow.js sums int32 and bool into int32. */
const totalType = (x: TensorInfo) => (x.dtype === "float32" || x.dtype === "complex64" ? undefined : "int32");

/** Shape after reducing `axes`. */
function reducedShape(shape: readonly number[], axes: number[], keepDims: boolean): number[] {
  return keepDims ? shape.map((n, i) => (axes.includes(i) ? 1 : n)) : shape.filter((_, i) => !axes.includes(i));
}

/**
 * A reduction that ATen does over several axes at once. For TensorFlow.js no axes mean no reduction; for ATen they mean
 * all axes.
 */
const overAxes = (reduce: (x: TensorInfo, axes: number[], keepDims: boolean) => Handle): TorchKernel => {
  return ({ x }, { axis, reductionIndices, keepDims }) => {
    const axes = util.parseAxisParam(axis ?? reductionIndices, x.shape);
    return axes.length === 0 ? clone(x) : reduce(x, axes, keepDims ?? false);
  };
};

/** A reduction that ATen does over one axis only. The axes are moved to the end and merged into one. */
const overMerged = (reduce: (x: Handle) => Handle) =>
  overAxes((x, axes, keepDims) => {
    const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
    const size = util.sizeFromShape(axes.map((axis) => x.shape[axis] as number));
    const merged = reshape(permute(x, [...kept, ...axes]), [...kept.map((i) => x.shape[i] as number), size]);
    return reshape(reduce(merged), reducedShape(x.shape, axes, keepDims));
  });

/** Running totals: `exclusive` leaves out each element's own value, `reverse` runs from the end. */
const running = (accumulate: (x: Handle, axis: number, dtype?: string) => Handle, identity: number): TorchKernel => {
  return ({ x }, { axis, exclusive, reverse }) => {
    const [dim] = util.parseAxisParam(axis, x.shape) as [number];
    let terms: Handle = reverse ? flip(x, [dim]) : clone(x);
    const length = x.shape[dim] as number;
    if (exclusive && length > 0) {
      const first = fullLike(narrow(terms, dim, 0, 1), identity);
      terms = concatenate([first, narrow(terms, dim, 0, length - 1)], dim);
    }
    const total = accumulate(terms, dim, totalType(x));
    return reverse ? flip(total, [dim]) : total;
  };
};

const argExtreme = (find: (x: TensorInfo, axis: number) => Handle): TorchKernel => {
  return ({ x }, { axis }) => {
    const [dim] = util.parseAxisParam(axis, x.shape) as [number];
    return find(x, dim);
  };
};

/**
 * The operand of ArgMax and ArgMin without NaN, which TensorFlow.js ignores. ATen would return the position of a NaN.
 */
function comparable(x: TensorInfo, worst: number): TensorInfo | Handle {
  if (x.dtype === "bool") return cast(x, "int32");
  return x.dtype === "float32" ? maskedFill(x, isNan(x), worst) : x;
}

export const reductions: KernelTable = {
  Sum: overAxes((x, axes, keepDims) => sum(x, axes, keepDims, totalType(x))),
  Mean: overAxes((x, axes, keepDims) => mean(x, axes, keepDims, x.dtype === "float32" ? undefined : "float32")),
  Max: overAxes((x, axes, keepDims) => amax(x, axes, keepDims)),
  Min: overAxes((x, axes, keepDims) => amin(x, axes, keepDims)),
  Prod: overMerged((x) => prod(x, -1, false)),
  All: overMerged((x) => all(x, -1)),
  Any: overMerged((x) => any(x, -1)),
  ArgMax: argExtreme((x, axis) => argmax(comparable(x, Number.NEGATIVE_INFINITY), axis)),
  ArgMin: argExtreme((x, axis) => argmin(comparable(x, Number.POSITIVE_INFINITY), axis)),
  Cumsum: running((x, axis, dtype) => cumsum(x, axis, dtype), 0),
  Cumprod: running((x, axis, dtype) => cumprod(x, axis, dtype), 1),

  Softmax: ({ logits }, { dim }) => softmax(logits, dim, false),
  /** (x − mean) / √(variance + ε) · scale + offset, rearranged into one product and one sum over x. */
  FusedBatchNorm: ({ x, mean, variance, offset, scale }, { varianceEpsilon }) => {
    const inverse = rsqrt(addScalar(variance, varianceEpsilon ?? 0.001));
    const factor = scale ? mul(inverse, scale) : inverse;
    const shift = mul(mean, factor);
    return addProduct(offset ? sub(offset, shift) : negate(shift), x, factor);
  },
  FFT: ({ input }) => fft(input),
  IFFT: ({ input }) => ifft(input),
};
