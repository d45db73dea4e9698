// The metric of outputs. With Σ = L Lᵀ the error of a layer's outputs is ‖(T − W') L‖, so matrices are compared after a
// product with L. After that product, a block that covers the columns J of W' lies in the span of the rows J of L. In an
// orthonormal basis of this span, the best block of a given rank is a truncated singular value decomposition.

import {
  add,
  div,
  matMul,
  mul,
  relu,
  reshape,
  slice,
  sqrt,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { EngineError } from "../../engine/core/errors.ts";
import { cholesky, diagonalOf, solveTriangular } from "../../engine/linalg/index.ts";

/** Samples from `start` up to, but not including, `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Number of samples of a range. */
export const lengthOf = ({ start, end }: Range): number => end - start;

/** The basis of a range of columns J, with c = |J|. */
interface Basis {
  /** C, lower triangular with C Cᵀ = Σ_JJ, (c, c) */
  lower: Tensor2D;
  /** C⁻¹ L_J, orthonormal rows, (c, n_in); undefined for all columns, for which it is the identity */
  rows?: Tensor2D;
}

/**
 * Share of each diagonal entry that is added to it. It is relative to the entry, not to the largest eigenvalue, so that
 * a few inputs of very large variance do not hide the others.
 */
const DAMPING = 1e-6;
/** Damping grows by this factor while the covariance is not positive definite, up to `MOST_DAMPING`. */
const GROWTH = 10;
const MOST_DAMPING = 0.1;
/** Least variance of an input, as a share of the mean variance. Inputs that never occur have it. */
const LEAST_VARIANCE = 1e-8;
/** Keeps the variance of a covariance of zeros above 0. */
const LEAST_NUMBER = 1e-30;

/** A factor L of a covariance, and the bases of ranges of columns. Must be disposed of. */
export class OutputMetric {
  readonly nIn: number;
  /** share of the diagonal that was added to the covariance */
  readonly damping: number;
  private readonly lower: Tensor2D;
  private readonly bases = new Map<string, Basis>();

  private constructor(lower: Tensor2D, damping: number) {
    this.lower = lower;
    this.nIn = lower.shape[0];
    this.damping = damping;
  }

  /**
   * Factors a covariance.
   * @param covariance Σ, float32 (n_in, n_in), symmetric and positive semidefinite up to rounding; the identity is used
   *   if it is zero
   * @throws EngineError when it is far from positive semidefinite
   */
  static async of(covariance: Tensor2D): Promise<OutputMetric> {
    const { scaled, deviations } = tidy(() => {
      const variances = relu(diagonalOf(covariance));
      const mean = div(sum(variances), covariance.shape[0]);
      const least = add(mul(mean, LEAST_VARIANCE), LEAST_NUMBER);
      const deviations = sqrt(add(variances, least)) as Tensor1D;
      const across = reshape(deviations, [1, -1]);
      return { scaled: div(div(covariance, across), transpose(across)) as Tensor2D, deviations };
    });
    try {
      for (let damping = DAMPING; damping <= MOST_DAMPING; damping *= GROWTH) {
        const lower = await cholesky(scaled, { damping });
        if (lower === undefined) continue;
        const own = scaledRows(lower, deviations);
        lower.dispose();
        return new OutputMetric(own, damping);
      }
    } finally {
      scaled.dispose();
      deviations.dispose();
    }
    throw new EngineError(
      `the covariance of inputs is not positive semidefinite, also with ${MOST_DAMPING} of its diagonal added`,
      "calibrate on other data",
    );
  }

  /** The matrix times L, in which errors are errors of outputs. (n_out, n_in) → (n_out, n_in) */
  whitened(matrix: Tensor2D): Tensor2D {
    return matMul(matrix, this.lower);
  }

  /** Coordinates, in the basis of the columns, of whitened rows. (m, n_in) → (m, c) */
  async coordinates(whitened: Tensor2D, columns: Range): Promise<Tensor2D> {
    const { rows } = await this.basis(columns);
    return rows ? matMul(whitened, rows, false, true) : whitened.clone();
  }

  /** Whitened rows from their coordinates. (m, c) → (m, n_in) */
  async fromCoordinates(coordinates: Tensor2D, columns: Range): Promise<Tensor2D> {
    const { rows } = await this.basis(columns);
    return rows ? matMul(coordinates, rows) : coordinates.clone();
  }

  /** The entries of rows in the columns from their coordinates. (p, c) → (p, c) */
  async entries(coordinates: Tensor2D, columns: Range): Promise<Tensor2D> {
    const { lower } = await this.basis(columns);
    const turned = transpose(coordinates);
    const solved = await solveTriangular(lower, turned, { transposed: true });
    const result = transpose(solved) as Tensor2D;
    turned.dispose();
    solved.dispose();
    return result;
  }

  dispose(): void {
    for (const { lower, rows } of this.bases.values()) {
      if (lower !== this.lower) lower.dispose();
      rows?.dispose();
    }
    this.lower.dispose();
  }

  private async basis(columns: Range): Promise<Basis> {
    const { start, end } = columns;
    if (start === 0 && end === this.nIn) return { lower: this.lower };
    const key = `${start}:${end}`;
    const known = this.bases.get(key);
    if (known) return known;
    const own = slice(this.lower, [start, 0], [end - start, this.nIn]);
    const gram = matMul<Tensor2D>(own, own, false, true);
    const basis = await basisOf(own, gram);
    own.dispose();
    gram.dispose();
    this.bases.set(key, basis);
    return basis;
  }
}

/** Rounding of the product in float32, as a share of its mean diagonal entry. */
const ROUNDING = 1e-7;

/**
 * The basis of rows of L, which are factored after scaling them to length 1.
 * @param own rows of L, (c, n_in)
 * @param gram own · ownᵀ, (c, c)
 */
async function basisOf(own: Tensor2D, gram: Tensor2D): Promise<Basis> {
  const lengths = tidy(() => sqrt(diagonalOf(gram)) as Tensor1D);
  const scaled = tidy(() => div(div(gram, reshape(lengths, [1, -1])), reshape(lengths, [-1, 1])) as Tensor2D);
  let lower: Tensor2D | undefined;
  for (let damping = ROUNDING; lower === undefined && damping < 1; damping *= GROWTH) {
    lower = await cholesky(scaled, { damping });
  }
  if (lower === undefined) throw new EngineError("rows of a factor of a covariance are dependent", "report this");
  const whole = scaledRows(lower, lengths);
  const rows = await solveTriangular(whole, own);
  for (const tensor of [lengths, scaled, lower] as Tensor[]) tensor.dispose();
  return { lower: whole, rows };
}

/** Multiplies row i of a matrix by factor i. */
const scaledRows = (matrix: Tensor2D, factors: Tensor1D): Tensor2D =>
  tidy(() => mul(matrix, reshape(factors, [-1, 1])) as Tensor2D);
