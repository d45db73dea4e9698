// Monarch matrices (Dao et al. 2022, arXiv 2204.00595): two block-diagonal products with a permutation between them.
// Equal to a grid of low-rank blocks, each of which takes every J-th row; with one block it is a low-rank matrix.

import { blockStructure, costOfRank, rankOfBlocks } from "./block-structure.ts";
import type { MatrixSize } from "./budget.ts";

/** Parameters: `first` (n_in, r, blocks) and `second` (n_out, blocks, r). */
export const monarch = blockStructure({ name: "monarch", order: "strided", chooseBlocks });

/**
 * As many blocks as make the product in the middle about min(n_out, n_in) wide, like the published layers; of the
 * numbers near that the one that spends most of the budget, as sizes that do not divide waste some. No more than leave
 * rank 1.
 */
export function chooseBlocks(allowed: number, { nOut, nIn }: MatrixSize): number {
  const side = Math.min(nOut, nIn);
  // rank times blocks
  const product = Math.max(1, Math.floor(allowed / (nOut + nIn)));
  const aim = Math.min(product, Math.max(1, side / product));
  let [best, most, nearest] = [1, 0, Number.POSITIVE_INFINITY];
  for (let blocks = Math.max(1, Math.floor(0.7 * aim)); blocks <= Math.min(side, Math.ceil(1.4 * aim)); blocks++) {
    const size = { nOut, nIn, blocks };
    const spent = rankOfBlocks(allowed, size) * costOfRank(size);
    const distance = Math.abs(blocks - aim);
    if (spent > most || (spent === most && distance < nearest)) {
      [best, most, nearest] = [blocks, spent, distance];
    }
  }
  return best;
}
