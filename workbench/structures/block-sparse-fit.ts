// Fits kept blocks and a low-rank part to a matrix together, by turns: each step is the best of one part for the other
// as it stands, so the error never grows.

import { matMul, mul, sqrt, sub, type Tensor2D, tidy, transpose, zeros } from "@tensorflow/tfjs-core";
import { svd } from "../engine/linalg/index.ts";
import { type BlockSparseParameters, type Pattern, placed, taken } from "./block-sparse-pattern.ts";

export interface BlockSparseFit extends Pattern {
  /** of the low-rank part; may be 0 */
  rank: number;
  /** times that both parts are fitted after the first */
  rounds: number;
}

/** @param weight float32 (n_out, n_in) */
export async function fitBlockSparse(
  weight: Tensor2D,
  { rank, rounds, ...pattern }: BlockSparseFit,
): Promise<BlockSparseParameters> {
  const [nOut, nIn] = weight.shape;
  let values = taken(weight, pattern);
  if (rank === 0) {
    return { values, left: zeros([nOut, 0]), right: zeros([0, nIn]) };
  }
  for (let round = 0; ; round++) {
    const rest = tidy(() => sub<Tensor2D>(weight, placed(values, pattern, { nOut, nIn })));
    const { left, right } = await thinFactors(rest, rank);
    rest.dispose();
    values.dispose();
    values = tidy(() => taken(sub(weight, matMul(left, right)), pattern));
    if (round === rounds) {
      return { values, left, right };
    }
    left.dispose();
    right.dispose();
  }
}

async function thinFactors(matrix: Tensor2D, rank: number): Promise<{ left: Tensor2D; right: Tensor2D }> {
  const { u, s, v } = await svd(matrix, { rank });
  const factors = tidy(() => ({ left: mul<Tensor2D>(u, sqrt(s)), right: transpose(mul<Tensor2D>(v, sqrt(s))) }));
  for (const tensor of [u, s, v]) {
    tensor.dispose();
  }
  return factors;
}
