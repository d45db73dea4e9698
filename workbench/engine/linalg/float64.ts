// Matrix decompositions on the host in float64, for engines without decompositions of their own and for callers that
// need every digit. Eigenvectors are computed by ml-matrix. Singular values are computed from the eigenvectors of the
// smaller Gram matrix, and one-sided Jacobi rotations (Hestenes 1958) recover the digits that squaring has lost. This
// file uses no tensors.

import { EigenvalueDecomposition, Matrix } from "ml-matrix";
import { LEAST_GRAM_RATIO } from "../ops/kernels.ts";

/** A dense matrix, row by row. */
export interface Float64Matrix {
  values: Float64Array;
  rows: number;
  columns: number;
}

interface Float64Svd {
  /** (k, m): left vectors as rows */
  left: Float64Array;
  /** (k), largest first */
  s: Float64Array;
  /** (k, n): right vectors as rows */
  right: Float64Array;
}

interface Float64Eigen {
  /** (n), largest first */
  values: Float64Array;
  /** (n, n): vectors as rows */
  vectors: Float64Array;
}

/** Eigenvalues and vectors of the symmetric part of `values` (n, n). */
export function symmetricEigenFloat64(values: Float64Array, n: number): Float64Eigen {
  const matrix = new Matrix(n, n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      matrix.set(i, j, 0.5 * ((values[i * n + j] as number) + (values[j * n + i] as number)));
    }
  }
  if (n === 0) {
    return { values: new Float64Array(0), vectors: new Float64Array(0) };
  }
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(matrix, { assumeSymmetric: true });
  const order = realEigenvalues.map((_, i) => i).sort((a, b) => at(realEigenvalues, b) - at(realEigenvalues, a));
  const vectors = new Float64Array(n * n);
  order.forEach((column, row) => {
    for (let i = 0; i < n; i++) {
      vectors[row * n + i] = eigenvectorMatrix.get(i, column);
    }
  });
  return { values: Float64Array.from(order, (i) => at(realEigenvalues, i)), vectors };
}

interface Float64SvdOptions {
  /** number of largest triples to compute. Default all */
  rank?: number;
  /**
   * whether results are exact to float64; otherwise they are exact to float32, which is several times faster. Default
   * true
   */
  exact?: boolean;
}

/** The largest singular triples of a matrix. */
export function svdFloat64(matrix: Float64Matrix, { rank: wanted, exact = true }: Float64SvdOptions = {}): Float64Svd {
  const { rows, columns } = matrix;
  const rank = wanted ?? Math.min(rows, columns);
  const wide = rows <= columns;
  const flat = wide ? matrix.values : transposed(matrix);
  const [small, large] = wide ? [rows, columns] : [columns, rows];
  const { vectors } = symmetricEigenFloat64(gram(flat, small, large), small);
  const images = product(vectors, flat, { rows: small, inner: small, columns: large });
  if (exact || !(ratioOf(rowNorms(images, small, large), rank) >= LEAST_GRAM_RATIO)) {
    orthogonalizeRows(images, vectors, { count: small, length: large, partnerLength: small });
  }
  const { near, s, far } = sortedTriples(images, vectors, { rank, small, large });
  return wide ? { left: near, s, right: far } : { left: far, s, right: near };
}

interface Sizes {
  rank: number;
  small: number;
  large: number;
}

/**
 * Sorts singular triples, largest first. `near` are the vectors on the smaller side of the matrix, `far` those on its
 * larger side. Row i of `vectors` is a near vector; row i of `images` is its far vector times its singular value.
 */
function sortedTriples(images: Float64Array, vectors: Float64Array, { rank, small, large }: Sizes) {
  const norms = rowNorms(images, small, large);
  const order = Array.from(norms, (_, i) => i)
    .sort((a, b) => at(norms, b) - at(norms, a))
    .slice(0, rank);
  const s = Float64Array.from(order, (i) => at(norms, i));
  const near = new Float64Array(rank * small);
  const far = new Float64Array(rank * large);
  order.forEach((from, to) => {
    near.set(vectors.subarray(from * small, (from + 1) * small), to * small);
    const inverse = at(norms, from) > 0 ? 1 / at(norms, from) : 0;
    for (let j = 0; j < large; j++) {
      far[to * large + j] = at(images, from * large + j) * inverse;
    }
  });
  completeRows(far, s, { count: rank, length: large });
  return { near, s, far };
}

function ratioOf(norms: Float64Array, rank: number): number {
  const sorted = norms.slice().sort().reverse();
  return at(sorted, rank - 1) / at(sorted, 0);
}

/** X Xᵀ of X (rows, columns). */
function gram(x: Float64Array, rows: number, columns: number): Float64Array {
  const g = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++) {
    for (let j = i; j < rows; j++) {
      let sum = 0;
      for (let t = 0; t < columns; t++) {
        sum += at(x, i * columns + t) * at(x, j * columns + t);
      }
      g[i * rows + j] = sum;
      g[j * rows + i] = sum;
    }
  }
  return g;
}

/** A (rows, inner) · B (inner, columns). */
export function product(
  a: Float64Array,
  b: Float64Array,
  { rows, inner, columns }: { rows: number; inner: number; columns: number },
): Float64Array {
  const c = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    const into = c.subarray(i * columns, (i + 1) * columns);
    for (let t = 0; t < inner; t++) {
      const factor = at(a, i * inner + t);
      const from = b.subarray(t * columns, (t + 1) * columns);
      for (let j = 0; j < columns; j++) {
        into[j] = at(into, j) + factor * at(from, j);
      }
    }
  }
  return c;
}

function transposed({ values, rows, columns }: Float64Matrix): Float64Array {
  const result = new Float64Array(values.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      result[j * rows + i] = at(values, i * columns + j);
    }
  }
  return result;
}

const at = (values: ArrayLike<number>, i: number): number => values[i] as number;

const MOST_SWEEPS = 30;
/** Two rows count as orthogonal if the cosine between them is at most this. */
const LARGEST_COSINE = 1e-14;

/**
 * Rotates pairs of rows of `x` (count, length) until all are orthogonal, and the same rows of `partner` (count,
 * partnerLength) with them.
 */
function orthogonalizeRows(
  x: Float64Array,
  partner: Float64Array,
  { count, length, partnerLength }: { count: number; length: number; partnerLength: number },
): void {
  // Rows this short consist of rounding errors of the longest row, so their direction is arbitrary.
  const floor = (1e-18 * Math.max(...rowNorms(x, count, length))) ** 2;
  let turned = true;
  for (let sweep = 0; turned && sweep < MOST_SWEEPS; sweep++) {
    turned = false;
    for (let p = 0; p < count; p++) {
      const a = row(x, p, length);
      for (let q = p + 1; q < count; q++) {
        const b = row(x, q, length);
        const [aa, ab, bb] = [dot(a, a), dot(a, b), dot(b, b)];
        if (aa <= floor || bb <= floor || Math.abs(ab) <= LARGEST_COSINE * Math.sqrt(aa * bb)) {
          continue;
        }
        turned = true;
        const zeta = (bb - aa) / (2 * ab);
        const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        turn(a, b, tangent);
        turn(row(partner, p, partnerLength), row(partner, q, partnerLength), tangent);
      }
    }
  }
}

/** Replaces the rows of zero singular values by unit rows that are orthogonal to all others. */
function completeRows(x: Float64Array, s: Float64Array, { count, length }: { count: number; length: number }): void {
  const least = 1e-17 * Math.max(...s);
  let axis = 0;
  for (let p = 0; p < count; p++) {
    const a = row(x, p, length);
    if ((s[p] as number) > least) {
      continue;
    }
    s[p] = 0;
    let norm = 0;
    for (; norm < 0.1 / Math.sqrt(length); axis++) {
      a.fill(0);
      a[axis] = 1;
      for (let pass = 0; pass < 2; pass++) {
        for (let q = 0; q < p; q++) {
          subtract(a, row(x, q, length));
        }
      }
      norm = Math.sqrt(dot(a, a));
    }
    for (let j = 0; j < length; j++) {
      a[j] = (a[j] as number) / norm;
    }
  }
}

/** Euclidean length of each row of `x` (count, length). */
function rowNorms(x: Float64Array, count: number, length: number): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => {
    const a = row(x, i, length);
    return Math.sqrt(dot(a, a));
  });
}

const row = (x: Float64Array, i: number, length: number): Float64Array => x.subarray(i * length, (i + 1) * length);

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let j = 0; j < a.length; j++) {
    sum += (a[j] as number) * (b[j] as number);
  }
  return sum;
}

function turn(a: Float64Array, b: Float64Array, tangent: number): void {
  const cosine = 1 / Math.hypot(1, tangent);
  const sine = cosine * tangent;
  for (let j = 0; j < a.length; j++) {
    const [x, y] = [a[j] as number, b[j] as number];
    a[j] = cosine * x - sine * y;
    b[j] = sine * x + cosine * y;
  }
}

function subtract(a: Float64Array, direction: Float64Array): void {
  const along = dot(a, direction);
  for (let j = 0; j < a.length; j++) {
    a[j] = (a[j] as number) - along * (direction[j] as number);
  }
}
