// Initial factors by singular value decomposition of a trained matrix, with √s on each side, assigned to blocks in
// order. They give the low-rank matrix with the smallest error of the entries, or with the smallest output error for a
// given covariance of the layer's inputs. Widths and locations are set elsewhere.

import {
  add,
  divNoNan,
  matMul,
  mul,
  norm,
  relu,
  reshape,
  slice,
  sqrt,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { svd, symmetricEigen } from "../../engine/linalg/index.ts";
import { expectOperand, expectSetting } from "../../engine/ops/operands.ts";
import { firstTriples, type Triples } from "./decompositions.ts";
import { largestEigenvalue, whiteningOf } from "./whitening.ts";

/** Options of `svdFactors`. */
export interface SvdFactorsOptions {
  /** K. Default ⌊min(n_out, n_in) / rank⌋, which uses all singular triples */
  blocks?: number;
  /** r, singular triples per block; block c holds triples r c … r c + r - 1. Default 1 */
  rank?: number;
  /** all triples of the matrix, if they are known. They still belong to the caller */
  triples?: Triples | undefined;
}

/** Factors of blocks and the singular values that they contain. */
export interface SvdFactors {
  /** v, (K, r, n_in) */
  lr_weight1: Tensor3D;
  /** u, (K, n_out, r) */
  lr_weight2: Tensor3D;
  /** singular values of the triples used, largest first, (K · r) */
  singularValues: Tensor1D;
}

/**
 * Factors whose product over all blocks is the nearest matrix of rank K · r. The squared length of each vector of a
 * triple is its singular value.
 *
 * @param weight float32 (n_out, n_in)
 * @throws ShapeError when the matrix has another type or shape, or fewer than K · r singular triples
 */
export async function svdFactors(weight: Tensor2D, options: SvdFactorsOptions = {}): Promise<SvdFactors> {
  expectOperand("svdFactors", { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
  const [nOut, nIn] = weight.shape;
  const { rank = 1, triples } = options;
  const count = Math.min(nOut, nIn);
  const isRank = Number.isInteger(rank) && rank >= 1 && rank <= count;
  expectSetting("svdFactors", { rank }, `an integer from 1 to ${count}`, isRank);
  const most = Math.floor(count / rank);
  const { blocks = most } = options;
  const isCount = Number.isInteger(blocks) && blocks >= 1 && blocks <= most;
  expectSetting("svdFactors", { blocks }, `an integer from 1 to ${most}`, isCount);
  const { u, s, v } = await firstTriples(triples, { rank: blocks * rank }, () => svd(weight, { rank: blocks * rank }));
  const factors = tidy(() => {
    const root = sqrt(s);
    const outputs = reshape(mul(u, root), [nOut, blocks, rank]);
    return {
      lr_weight1: reshape<Tensor3D["rankType"]>(transpose(mul(v, root)), [blocks, rank, nIn]),
      lr_weight2: transpose(outputs, [1, 0, 2]) as Tensor3D,
    };
  });
  u.dispose();
  v.dispose();
  return { ...factors, singularValues: s };
}

/** Options of `activationAwareSvd`. */
export interface ActivationAwareOptions {
  /** K, blocks of rank 1. Default min(n_out, n_in) */
  blocks?: number;
  /**
   * share of the largest eigenvalue that is added to all eigenvalues, above 0. Directions that did not occur in the
   * calibration are then approximated as by plain SVD. Default 1e-6, the precision of float32 covariances
   */
  ridge?: number;
  /** all triples of M Σ^½ for this covariance, if they are known. They still belong to the caller */
  triples?: Triples | undefined;
}

/**
 * Factors of the matrix W of rank K that minimizes ‖(M - W) Σ^½‖, the root mean square error of the layer's output.
 * With M Σ^½ = U S Vᵀ it is W = U_K U_Kᵀ M, so that no inverse of Σ is needed. Both factors of a block have the same
 * length.
 *
 * @param weight M, float32 (n_out, n_in)
 * @param covariance Σ, float32 (n_in, n_in), the mean of x xᵀ over inputs x, or any multiple of it; only its symmetric
 *   part is used. If it is zero, the identity is used instead
 * @returns factors in the order of their contribution to the output; `singularValues` are those of M Σ^½, with Σ scaled
 *   to a largest eigenvalue of 1
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
  const { blocks = most, ridge = 1e-6, triples } = options;
  const isCount = Number.isInteger(blocks) && blocks >= 1 && blocks <= most;
  expectSetting("activationAwareSvd", { blocks }, `an integer from 1 to ${most}`, isCount);
  expectSetting("activationAwareSvd", { ridge }, "a number above 0", ridge > 0 && Number.isFinite(ridge));
  const { u, s } = await firstTriples(triples, { rank: blocks, covariance }, () =>
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

/** Inputs beyond which Σ^½ is avoided: its time grows with n_in³, and takes minutes for each layer there. */
const MOST_INPUTS = 4096;

/** The first singular triples of M Σ^½, without the right vectors. Operands as in `activationAwareSvd`. */
export async function outputTriples(
  weight: Tensor2D,
  covariance: Tensor2D,
  { blocks = Math.min(...weight.shape), ridge = 1e-6 }: Omit<ActivationAwareOptions, "triples"> = {},
): Promise<{ u: Tensor2D; s: Tensor1D }> {
  const [nOut, nIn] = weight.shape;
  if (nIn > MOST_INPUTS && nOut < nIn) return outputTriplesByGram(weight, covariance, { blocks, ridge });
  const root = await whiteningOf(covariance, ridge);
  const seen = matMul(weight, root) as Tensor2D;
  const { u, s, v } = await svd(seen, { rank: blocks });
  for (const tensor of [root, seen, v]) tensor.dispose();
  return { u, s };
}

/**
 * The same triples from the eigenvectors of M Σ Mᵀ, (n_out, n_out). Singular values below 3e-4 of the largest are not
 * exact, because the product is in float32.
 */
async function outputTriplesByGram(
  weight: Tensor2D,
  covariance: Tensor2D,
  { blocks, ridge }: { blocks: number; ridge: number },
): Promise<{ u: Tensor2D; s: Tensor1D }> {
  const largest = await largestEigenvalue(covariance);
  const gram = tidy(() => {
    const own = matMul<Tensor2D>(weight, weight, false, true);
    if (largest === 0) return own;
    const symmetric = (product: Tensor2D) => mul(add(product, transpose(product)), 0.5);
    const seen = symmetric(matMul(matMul<Tensor2D>(weight, covariance), weight, false, true));
    return add<Tensor2D>(mul(seen, 1 / largest), mul(own, ridge));
  });
  const { values, vectors } = await symmetricEigen(gram);
  const found = tidy(() => ({
    u: slice(vectors, [0, 0], [-1, blocks]),
    s: sqrt(relu(slice(values, 0, blocks))) as Tensor1D,
  }));
  for (const tensor of [gram, values, vectors]) tensor.dispose();
  return found;
}
