// Whitening: a factor S of the covariance Σ = S Sᵀ of a layer's inputs. The output error ‖M Σ^½‖ of a matrix M is ‖M S‖.
// S is the symmetric root from the eigenvectors, or a Cholesky factor, which is computed many times faster. M S has the
// same left singular vectors and the same singular values with both. Layers with the same Σ share one S.

import {
  add,
  clipByValue,
  clone,
  div,
  divNoNan,
  matMul,
  max,
  mul,
  norm,
  randomUniform,
  sqrt,
  type Tensor2D,
  tidy,
} from "@tensorflow/tfjs-core";
import { cholesky, symmetricEigen } from "../../engine/linalg/index.ts";

/** Ways to factor a covariance: by Cholesky, or as the symmetric root. */
export const WHITENINGS = ["cholesky", "eigen"] as const;
/** Name of a way to factor a covariance. */
export type Whitening = (typeof WHITENINGS)[number];

interface Shared {
  by: Whitening;
  /** the factor, and the ridge in it */
  root?: Tensor2D;
  ridge?: number;
}

const shared = new WeakMap<Tensor2D, Shared>();

/**
 * Lets the decompositions of layers with the same covariance share one factor. It is computed when it is needed first,
 * and kept for one covariance at a time. Must be released at the end.
 */
export class SharedWhitening {
  private readonly by: Whitening;
  private current: Tensor2D | undefined;

  /** @param by way to factor covariances */
  constructor(by: Whitening) {
    this.by = by;
  }

  /** Shares the factor of this covariance, and disposes of that of the last one. @param covariance Σ, (n_in, n_in) */
  use(covariance: Tensor2D | undefined): void {
    if (covariance === this.current) return;
    this.release();
    // It may be shared by others already, who release it.
    if (!covariance || shared.has(covariance)) return;
    this.current = covariance;
    shared.set(covariance, { by: this.by });
  }

  /** Disposes of the factor. */
  release(): void {
    const { current } = this;
    this.current = undefined;
    if (!current) return;
    shared.get(current)?.root?.dispose();
    shared.delete(current);
  }
}

/**
 * A factor S of the covariance, with its largest eigenvalue scaled to 1 and the ridge added: S Sᵀ = Σ / λ + ridge.
 * Without variance, S is the identity.
 * @param ridge share of the largest eigenvalue, above 0
 * @returns float32 (n_in, n_in), which the caller disposes of
 */
export async function whiteningOf(covariance: Tensor2D, ridge: number): Promise<Tensor2D> {
  const known = shared.get(covariance);
  if (!known) return symmetricRoot(covariance, ridge);
  if (!known.root || known.ridge !== ridge) {
    known.root?.dispose();
    known.root = await FACTORS[known.by](covariance, ridge);
    known.ridge = ridge;
  }
  return clone(known.root);
}

const POWER_STEPS = 40;

/** The largest eigenvalue of a covariance by power iteration, within some percent, which suffices for the ridge. */
export async function largestEigenvalue(covariance: Tensor2D): Promise<number> {
  const value = tidy(() => {
    let vector = randomUniform([covariance.shape[0], 1], 0.5, 1, "float32", 1) as Tensor2D;
    for (let step = 0; step < POWER_STEPS; step++) {
      const next = matMul<Tensor2D>(covariance, vector);
      vector = divNoNan(next, norm(next));
    }
    return norm(matMul(covariance, vector));
  });
  const [found = 0] = await value.data();
  value.dispose();
  return found;
}

/** Σ^½, symmetric, of the covariance with its largest eigenvalue scaled to 1 and the ridge added. */
async function symmetricRoot(covariance: Tensor2D, ridge: number): Promise<Tensor2D> {
  const { values, vectors } = await symmetricEigen(covariance);
  const first = max(values);
  const [largest = 0] = await first.data();
  const root = tidy(() => {
    // Rounding can make eigenvalues slightly negative in directions without variance.
    const scaled = largest > 0 ? clipByValue(div(values, largest), 0, 1) : mul(values, 0);
    const kept = sqrt(add(scaled, largest > 0 ? ridge : 1));
    return matMul(mul(vectors, kept) as Tensor2D, vectors, false, true) as Tensor2D;
  });
  for (const tensor of [values, vectors, first]) {
    tensor.dispose();
  }
  return root;
}

/** L with L Lᵀ = Σ / λ + ridge; the symmetric root if rounding has made Σ / λ + ridge indefinite. */
async function lowerFactor(covariance: Tensor2D, ridge: number): Promise<Tensor2D> {
  const largest = await largestEigenvalue(covariance);
  const scaled = tidy(() => mul<Tensor2D>(covariance, largest > 0 ? 1 / largest : 0));
  const lower = await cholesky(scaled, { damping: largest > 0 ? ridge : 1 });
  scaled.dispose();
  return lower ?? symmetricRoot(covariance, ridge);
}

const FACTORS: Record<Whitening, (covariance: Tensor2D, ridge: number) => Promise<Tensor2D>> = {
  cholesky: lowerFactor,
  eigen: symmetricRoot,
};
