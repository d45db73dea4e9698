// Block low rank: a grid of neighboring blocks, each of the same low rank. A Monarch matrix without the permutation
// of its rows.

import { blockStructure, rankOfBlocks } from "./block-structure.ts";
import type { MatrixSize } from "./budget.ts";

const USUAL_BLOCKS = 4;

/** Parameters: `first` (n_in, r, blocks) and `second` (n_out, blocks, r). */
export const blockLowRank = blockStructure({ name: "block-low-rank", order: "contiguous", chooseBlocks });

/** Four on each side, fewer where the budget does not pay for rank 1 in so many. */
function chooseBlocks(allowed: number, size: MatrixSize): number {
  let blocks = Math.min(USUAL_BLOCKS, size.nOut, size.nIn);
  while (blocks > 1 && rankOfBlocks(allowed, { ...size, blocks }) < 1) {
    blocks--;
  }
  return blocks;
}
