// Starting factors from a trained matrix: its singular triples, √s on each side, dealt out to blocks in order.
// Widths and locations come from elsewhere.

import {
  mul,
  reshape,
  sqrt,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { svd } from "../../engine/linalg/index.ts";
import { expectOperand, expectSetting } from "../../engine/ops/operands.ts";
import { firstTriples } from "./decompositions.ts";

export interface SvdFactorsOptions {
  /** K. Default as many as the matrix has triples for, ⌊min(n_out, n_in) / rank⌋ */
  blocks?: number;
  /** r, singular triples a block: block c holds triples r c … r c + r - 1. Default 1 */
  rank?: number;
}

export interface SvdFactors {
  /** v, (K, r, n_in) */
  lr_weight1: Tensor3D;
  /** u, (K, n_out, r) */
  lr_weight2: Tensor3D;
  /** of the triples used, largest first, (K · r) */
  singularValues: Tensor1D;
}

/**
 * Factors whose product over all blocks is the nearest matrix of rank K · r; both of a triple have the squared length of
 * its singular value.
 *
 * @param weight float32 (n_out, n_in)
 * @throws ShapeError when the matrix is not that, or has fewer than K · r singular triples
 */
export async function svdFactors(weight: Tensor2D, options: SvdFactorsOptions = {}): Promise<SvdFactors> {
  expectOperand("svdFactors", { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
  const [nOut, nIn] = weight.shape;
  const { rank = 1 } = options;
  const triples = Math.min(nOut, nIn);
  const isRank = Number.isInteger(rank) && rank >= 1 && rank <= triples;
  expectSetting("svdFactors", { rank }, `an integer from 1 to ${triples}`, isRank);
  const most = Math.floor(triples / rank);
  const { blocks = most } = options;
  const isCount = Number.isInteger(blocks) && blocks >= 1 && blocks <= most;
  expectSetting("svdFactors", { blocks }, `an integer from 1 to ${most}`, isCount);
  const { u, s, v } = await firstTriples(weight, { rank: blocks * rank }, () => svd(weight, { rank: blocks * rank }));
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
