// Monarch matrices (Dao et al. 2022, arXiv 2204.00595): two block-diagonal products with a permutation between them.
// Equal to a grid of low-rank blocks, each of which takes every J-th row; with one block it is a low-rank matrix.

import { blockStructure, rankOfBlocks } from "./block-structure.ts";
import type { MatrixSize } from "./budget.ts";

/** Parameters: `first` (n_in, r, blocks) and `second` (n_out, blocks, r). */
export const monarch = blockStructure({ name: "monarch", order: "strided", chooseBlocks });

/** a number of blocks is considered when rank times blocks reaches this part of the most it can be */
const WELL_SPENT = 0.95;

/**
 * As many blocks as make the product in the middle about min(n_out, n_in) wide, like the published layers: the nearest
 * such number whose whole ranks spend the budget well. No more than leave rank 1.
 */
export function chooseBlocks(allowed: number, { nOut, nIn }: MatrixSize): number {
  const side = Math.min(nOut, nIn);
  // rank times blocks
  const product = Math.max(1, Math.floor(allowed / (nOut + nIn)));
  const aim = Math.min(product, Math.max(1, side / product));
  const first = Math.max(1, Math.floor(0.7 * aim));
  const last = Math.min(side, Math.ceil(1.4 * aim));
  const candidates = Array.from({ length: last - first + 1 }, (_, i) => {
    const blocks = first + i;
    return { blocks, spent: Math.min(side, blocks * rankOfBlocks(allowed, { nOut, nIn, blocks })) };
  });
  const most = Math.max(...candidates.map(({ spent }) => spent));
  const wellSpent = candidates.filter(({ spent }) => spent > 0 && spent >= WELL_SPENT * most);
  const distance = (blocks: number) => Math.abs(blocks - aim);
  return wellSpent.reduce(
    (best, { blocks }) => (distance(blocks) < distance(best) ? blocks : best),
    wellSpent[0]?.blocks ?? 1,
  );
}
