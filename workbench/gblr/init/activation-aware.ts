// Singular value decomposition that spends its rank where inputs are: the nearest matrix of a rank as seen through the
// covariance of a layer's inputs, not entry by entry. Needs only that covariance; calibration data is read elsewhere.

import {
  add,
  clipByValue,
  div,
  divNoNan,
  matMul,
  max,
  mul,
  norm,
  reshape,
  sqrt,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { svd, symmetricEigen } from "../../engine/linalg/index.ts";
import { expectOperand, expectSetting } from "../../engine/ops/operands.ts";
import { firstTriples } from "./decompositions.ts";
import type { SvdFactors } from "./svd-factors.ts";

export interface ActivationAwareOptions {
  /** K, blocks of rank 1. Default min(n_out, n_in) */
  blocks?: number;
  /**
   * share of the largest eigenvalue added to all, above 0: where calibration saw nothing, plain SVD decides what is kept.
   * Default 1e-6, what float32 covariances are known to
   */
  ridge?: number;
}

/**
 * With M Σ^½ = U S Vᵀ, no matrix of rank K leaves less of ‖(M - W) Σ^½‖, the root mean square error of the layer's output,
 * than W = U_K U_Kᵀ M, which needs no inverse of Σ. Both factors of a block have the same length.
 *
 * @param weight M, float32 (n_out, n_in)
 * @param covariance Σ, float32 (n_in, n_in), the mean of x xᵀ over inputs x or any multiple; its symmetric part counts.
 *   All zero: as the identity
 * @returns factors in order of what they add to the output; `singularValues` are those of M Σ^½ with Σ's largest
 *   eigenvalue scaled to 1
 * @throws ShapeError when shapes do not fit, values are not finite, or a setting is out of range
 */
export async function activationAwareSvd(
  weight: Tensor2D,
  covariance: Tensor2D,
  options: ActivationAwareOptions = {},
): Promise<SvdFactors> {
  expectOperand("activationAwareSvd", { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
  const [nOut, nIn] = weight.shape;
  expectOperand("activationAwareSvd", { covariance }, { dtype: "float32", shape: [nIn, nIn] });
  const most = Math.min(nOut, nIn);
  const { blocks = most, ridge = 1e-6 } = options;
  const isCount = Number.isInteger(blocks) && blocks >= 1 && blocks <= most;
  expectSetting("activationAwareSvd", { blocks }, `an integer from 1 to ${most}`, isCount);
  expectSetting("activationAwareSvd", { ridge }, "a number above 0", ridge > 0 && Number.isFinite(ridge));
  const { u, s } = await firstTriples(weight, { rank: blocks, covariance }, () =>
    outputTriples(weight, covariance, { blocks, ridge }),
  );
  const factors = tidy(() => {
    const inputs = matMul(weight, u, true);
    const half = sqrt(norm(inputs, "euclidean", 0));
    return {
      lr_weight1: reshape<Tensor3D["rankType"]>(transpose(divNoNan(inputs, half)), [blocks, 1, nIn]),
      lr_weight2: reshape<Tensor3D["rankType"]>(transpose(mul(u, half)), [blocks, nOut, 1]),
    };
  });
  u.dispose();
  return { ...factors, singularValues: s };
}

/** The first singular triples of M Σ^½, without their right vectors. Operands as `activationAwareSvd` has them. */
export async function outputTriples(
  weight: Tensor2D,
  covariance: Tensor2D,
  { blocks = Math.min(...weight.shape), ridge = 1e-6 }: ActivationAwareOptions = {},
): Promise<{ u: Tensor2D; s: Tensor1D }> {
  const root = await rootOf(covariance, ridge);
  const seen = matMul(weight, root) as Tensor2D;
  const { u, s, v } = await svd(seen, { rank: blocks });
  for (const tensor of [root, seen, v]) tensor.dispose();
  return { u, s };
}

/** Σ^½, symmetric, of the covariance with its largest eigenvalue scaled to 1 and the ridge added. */
async function rootOf(covariance: Tensor2D, ridge: number): Promise<Tensor2D> {
  const { values, vectors } = await symmetricEigen(covariance);
  const first = max(values);
  const [largest = 0] = await first.data();
  const root = tidy(() => {
    // Rounding leaves eigenvalues a little below zero where there is no variance.
    const scaled = largest > 0 ? clipByValue(div(values, largest), 0, 1) : mul(values, 0);
    const kept = sqrt(add(scaled, largest > 0 ? ridge : 1));
    return matMul(mul(vectors, kept) as Tensor2D, vectors, false, true) as Tensor2D;
  });
  for (const tensor of [values, vectors, first]) {
    tensor.dispose();
  }
  return root;
}
