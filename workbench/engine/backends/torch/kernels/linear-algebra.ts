// Matrix products, and matrix decompositions over ATen's LAPACK or cuSOLVER operators in float64. ops/kernels.ts lists
// what the decompositions return.

import { backend_util, type TensorInfo, util } from "@tensorflow/tfjs-core";
import * as names from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten, bfloat16CopyOf, CONTIGUOUS_FORMAT, infoOf } from "../aten.ts";
import { currentAddon, type TorchBackend } from "../backend.ts";
import { fusedKernel, type KernelTable } from "../register.ts";
import { activate } from "./elementwise.ts";

const matrixProduct = aten("mm");
const batchProduct = aten("bmm");
const anyProduct = aten("matmul");
const transpose = aten("transpose", "int");
const add = aten("add", "Tensor");
const cast = aten("to", "dtype");
const einsum = aten("einsum");
const turn = aten("t");
const scale = aten("mul", "Scalar");
const divide = aten("div", "Tensor");
const flip = aten("flip");
const narrow = aten("narrow");
const columnNorms = aten("linalg_vector_norm");
const clone = aten("clone");
const eigh = aten<Handle[]>("linalg_eigh");
const directSvd = aten<Handle[]>("linalg_svd");
const choleskyOf = aten<Handle[]>("linalg_cholesky_ex");
const solveTriangular = aten("linalg_solve_triangular");
const solveByCholesky = aten("cholesky_solve");
const diagonal = aten("diagonal");
const addNumber = aten("add", "Scalar");
const copyInto = aten("copy_");

type Transposed = { transposeA: boolean; transposeB: boolean };

/** a (…, m, k) · b (…, k, n), each optionally stored transposed. Leading axes broadcast. */
function product(a: TensorInfo, b: TensorInfo, { transposeA, transposeB }: Transposed, backend: TorchBackend): Handle {
  // Integer products exist on the CPU only; float64 holds every int32 product that does not overflow.
  const integers = a.dtype === "int32" && backend.device !== "cpu";
  const prepare = (x: TensorInfo) => (integers ? cast(x, "float64") : backend.mixed ? (bfloat16CopyOf(x) ?? x) : x);
  checkProduct(a.shape, b.shape, { transposeA, transposeB });
  const left = transposeA ? transpose(prepare(a), -2, -1) : prepare(a);
  const right = transposeB ? transpose(prepare(b), -2, -1) : prepare(b);
  const result = multiply(a, b)(left, right);
  return integers ? cast(result, "int32") : result;
}

function checkProduct(a: number[], b: number[], { transposeA, transposeB }: Transposed): void {
  const inner = [a.at(transposeA ? -2 : -1), b.at(transposeB ? -1 : -2)];
  util.assert(
    a.length >= 2 && b.length >= 2 && inner[0] === inner[1],
    () =>
      `Error in matMul: inner shapes (${inner[0]}) and (${inner[1]}) of Tensors with shapes ${a} and ${b} and ` +
      `transposeA=${transposeA} and transposeB=${transposeB} must match.`,
  );
}

function multiply(a: TensorInfo, b: TensorInfo) {
  if (a.shape.length === 2 && b.shape.length === 2) return matrixProduct;
  if (a.shape.length === 3 && b.shape.length === 3 && a.shape[0] === b.shape[0]) return batchProduct;
  return anyProduct;
}

/** Matrix products and einsum. */
export const products: KernelTable = {
  BatchMatMul: ({ a, b }, attrs, backend) => product(a, b, attrs, backend),
  _FusedMatMul: ({ a, b, bias, preluActivationWeights }, attrs, backend) => {
    const result = product(a, b, attrs, backend);
    const { activation, leakyreluAlpha: alpha } = attrs;
    return activate(bias ? add(result, bias) : result, activation, { slopes: preluActivationWeights, alpha });
  },
  Einsum: (inputs, { equation }) => {
    const tensors = Object.values(inputs) as TensorInfo[];
    const { allDims, idDims } = backend_util.decodeEinsumEquation(equation, tensors.length);
    backend_util.checkEinsumDimSizes(allDims.length, idDims, tensors as never);
    return einsum(equation.replace(/\s/g, ""), tensors);
  },
};

/** A float32 copy. A view would keep the whole decomposition in memory. */
const finished = (x: Handle): Handle => clone(cast(x, "float32"), CONTIGUOUS_FORMAT);

/** Eigenvalues of a symmetric matrix, largest first, and their eigenvectors as columns. */
function descending(x: Handle): [values: Handle, vectors: Handle] {
  const [values, vectors] = eigh(x, "L") as [Handle, Handle];
  return [flip(values, [0]), flip(vectors, [1])];
}

/**
 * Singular triples from the smaller Gram matrix; undefined if squaring would lose digits of the last singular value.
 */
function gramSvd(x: Handle, rank: number): [Handle, Handle, Handle] | undefined {
  const [m, n] = infoOf(x).shape as [number, number];
  const wide = m < n;
  const turned = turn(x);
  const [, vectors] = descending(wide ? matrixProduct(x, turned) : matrixProduct(turned, x));
  const near = narrow(vectors, 1, 0, rank);
  const images = matrixProduct(wide ? turned : x, near);
  const s = columnNorms(images, 2, [0], false, null);
  const lengths = new Float64Array(currentAddon().read(s));
  const first = lengths[0] as number;
  const last = lengths[rank - 1] as number;
  if (!(last >= names.LEAST_GRAM_RATIO * first && first > 0)) return undefined;
  const far = divide(images, s);
  return wide ? [near, s, far] : [far, s, near];
}

/** Singular triples from the decomposition of the matrix itself. */
function fullSvd(x: Handle, rank: number): [Handle, Handle, Handle] {
  const [u, s, vTransposed] = directSvd(x, false, null) as [Handle, Handle, Handle];
  return [narrow(u, 1, 0, rank), narrow(s, 0, 0, rank), turn(narrow(vTransposed, 0, 0, rank))];
}

/** The lower factor of the symmetric part of x (…, n, n) + damping · I in float64, and for each matrix whether it failed. */
function lowerOf(x: TensorInfo, damping: number): [lower: Handle, failed: Handle] {
  const exact = cast(x, "float64");
  const symmetric = scale(add(exact, transpose(exact, -2, -1), 1), 0.5);
  const entries = diagonal(symmetric, 0, -2, -1);
  copyInto(entries, addNumber(entries, damping, 1), false);
  return choleskyOf(symmetric, false, false) as [Handle, Handle];
}

/** Matrix decompositions. */
export const linearAlgebra: KernelTable = {
  [names.SVD]: fusedKernel<names.SvdInputs, names.SvdAttributes>(({ x }, { rank }) => {
    const exact = cast(x, "float64");
    return (gramSvd(exact, rank) ?? fullSvd(exact, rank)).map(finished);
  }),

  [names.SYMMETRIC_EIGEN]: fusedKernel<names.SymmetricEigenInputs>(({ x }) => {
    const exact = cast(x, "float64");
    return descending(scale(add(exact, turn(exact), 1), 0.5)).map(finished);
  }),

  [names.CHOLESKY]: fusedKernel<names.CholeskyInputs, names.CholeskyAttributes>(({ x }, { damping }) =>
    lowerOf(x, damping).map(finished),
  ),

  [names.CHOLESKY_SOLVE]: fusedKernel<names.CholeskySolveInputs, names.CholeskyAttributes>(
    ({ x, right }, { damping }) => {
      const [lower, failed] = lowerOf(x, damping);
      return [solveByCholesky(cast(right, "float64"), lower, false), failed].map(finished);
    },
  ),

  [names.TRIANGULAR_SOLVE]: fusedKernel<names.TriangularSolveInputs, names.TriangularSolveAttributes>(
    ({ lower, right }, { transposed }) => {
      const exact = cast(lower, "float64");
      const triangle = transposed ? turn(exact) : exact;
      return [finished(solveTriangular(triangle, cast(right, "float64"), transposed, true, false))];
    },
  ),
};
