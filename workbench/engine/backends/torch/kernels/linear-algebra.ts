// Matrix decompositions over ATen's LAPACK or cuSOLVER operators, in float64. What each returns is said in
// linalg/kernels.ts.

import * as names from "../../../linalg/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten, infoOf } from "../aten.ts";
import { currentAddon } from "../backend.ts";
import type { KernelTable } from "../register.ts";
import { fusedKernel } from "./fused-kernel.ts";

const cast = aten("to", "dtype");
const transpose = aten("t");
const matrixProduct = aten("mm");
const add = aten("add", "Tensor");
const multiply = aten("mul", "Scalar");
const divide = aten("div", "Tensor");
const flip = aten("flip");
const narrow = aten("narrow");
const columnNorms = aten("linalg_vector_norm");
const clone = aten("clone");
const eigh = aten<Handle[]>("linalg_eigh");
const directSvd = aten<Handle[]>("linalg_svd");

const CONTIGUOUS_FORMAT = 0; // c10::MemoryFormat

/** float32 with memory of its own: a view would keep the whole decomposition alive. */
const finished = (x: Handle): Handle => clone(cast(x, "float32"), CONTIGUOUS_FORMAT);

/** Eigenvectors of a symmetric matrix as columns, those of the largest eigenvalues first. */
function descending(x: Handle): [values: Handle, vectors: Handle] {
  const [values, vectors] = eigh(x, "L") as [Handle, Handle];
  return [flip(values, [0]), flip(vectors, [1])];
}

/** The triples through the smaller Gram matrix, or nothing where squaring would cost the last singular value digits. */
function gramSvd(x: Handle, rank: number): [Handle, Handle, Handle] | undefined {
  const [m, n] = infoOf(x).shape as [number, number];
  const wide = m < n;
  const turned = transpose(x);
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

function fullSvd(x: Handle, rank: number): [Handle, Handle, Handle] {
  const [u, s, vTransposed] = directSvd(x, false, null) as [Handle, Handle, Handle];
  return [narrow(u, 1, 0, rank), narrow(s, 0, 0, rank), transpose(narrow(vTransposed, 0, 0, rank))];
}

export const linearAlgebra: KernelTable = {
  [names.SVD]: fusedKernel<names.SvdInputs, names.SvdAttributes>(({ x }, { rank }) => {
    const exact = cast(x, "float64");
    return (gramSvd(exact, rank) ?? fullSvd(exact, rank)).map(finished);
  }),

  [names.SYMMETRIC_EIGEN]: fusedKernel<names.SymmetricEigenInputs>(({ x }) => {
    const exact = cast(x, "float64");
    return descending(multiply(add(exact, transpose(exact), 1), 0.5)).map(finished);
  }),
};
