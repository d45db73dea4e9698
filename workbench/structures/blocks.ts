// The structures Monarch and block low rank. Both are a grid of blocks of the same low rank, stored as two stacks of
// factors (block-factors.ts). They differ in the rows of a block, and in the default number of blocks.

import { mul, reshape, type Tensor3D } from "@tensorflow/tfjs-core";
import { STORED_BLOCK_LOW_RANK, STORED_MONARCH, type StoredStructure } from "../../hub/model-folder/index.ts";
import { expectOperand, expectSetting } from "../engine/ops/operands.ts";
import { refittedToOutputs } from "./activation-start.ts";
import {
  blockCost,
  blockMatrix,
  blockProduct,
  blockSizes,
  costOfShapes,
  projectBlocks,
  type RowOrder,
} from "./block-factors.ts";
import { allowance, expectPaid, type MatrixSize } from "./budget.ts";
import { parametersNamed, type Structure, type StructureParameters } from "./structure.ts";

/** Options of Monarch and block low rank. */
export interface BlockOptions {
  /** blocks on each side. Default by the structure's own rule */
  blocks?: number;
  /** rank of each block. Default the largest rank affordable within the budget */
  rank?: number;
}

/** The differences between Monarch and block low rank. */
interface BlockRule {
  stored: StoredStructure;
  order: RowOrder;
  /** blocks on each side for this many multiply-adds per row; may not be affordable */
  chooseBlocks: (allowed: number, size: MatrixSize) => number;
}

/** Parameters: `first` (n_in, r, blocks) and `second` (n_out, blocks, r), see block-factors.ts. */
function blockStructure({ stored, order, chooseBlocks }: BlockRule): Structure<BlockOptions> {
  const { name } = stored;
  const factorsOf = (parameters: StructureParameters) =>
    parametersNamed(name, parameters, ["first", "second"]) as { first: Tensor3D; second: Tensor3D };
  const gridWithin = (size: MatrixSize, budget: number, { blocks: wanted, rank: wantedRank }: BlockOptions) => {
    const { nOut, nIn } = size;
    const allowed = allowance(name, budget, size);
    const blocks = wanted ?? chooseBlocks(allowed, size);
    const most = Math.min(nOut, nIn);
    const isCount = Number.isInteger(blocks) && blocks >= 1 && blocks <= most;
    expectSetting(name, { blocks }, `an integer from 1 to ${most}`, isCount);
    const rank = wantedRank ?? Math.max(1, rankOfBlocks(allowed, { ...size, blocks }));
    const mostRank = blockSide({ ...size, blocks });
    const isRank = Number.isInteger(rank) && rank >= 1 && rank <= mostRank;
    expectSetting(name, { rank }, `an integer from 1 to ${mostRank}`, isRank);
    const cost = rank * costOfRank({ ...size, blocks });
    expectPaid({ structure: name, what: `rank ${rank} in ${blocks} × ${blocks} blocks`, cost, budget, ...size });
    return { blocks, rank, cost };
  };
  return {
    name,
    stored,
    parameterNames: ["first", "second"],

    /** @throws EngineError when rank 1, or the given rank, is not affordable within the budget */
    async fromDense(weight, budget, options = {}) {
      expectOperand(name, { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
      const [nOut, nIn] = weight.shape;
      const { blocks, rank } = gridWithin({ nOut, nIn }, budget, options);
      return { ...(await projectBlocks(weight, { blocks, rank, order })) };
    },

    costWithin: (size, budget, options = {}) => gridWithin(size, budget, options).cost,

    apply: (parameters, x) => blockProduct(factorsOf(parameters), x, order, name),
    dense: (parameters) => blockMatrix(factorsOf(parameters), order, name),
    cost: async (parameters) => blockCost(blockSizes(name, factorsOf(parameters))),
    inspect: async ({ shapes }) => ({ cost: costOfShapes(shapes) }),
    scaleInputs: ({ first }, scale) => ({ first: mul(first as Tensor3D, reshape(scale, [-1, 1, 1])) }),
    starts: { activation: refittedToOutputs },
  };
}

/** Sizes of a matrix and its number of blocks on each side. */
interface BlockedSize extends MatrixSize {
  blocks: number;
}

/** The largest rank affordable with `allowed` multiply-adds per row; 0 if none is. */
const rankOfBlocks = (allowed: number, size: BlockedSize): number =>
  Math.min(Math.floor(allowed / costOfRank(size)), blockSide(size));

/** Multiply-adds per row and rank. */
const costOfRank = ({ nOut, nIn, blocks }: BlockedSize): number =>
  blockCost({
    rows: blocks,
    columns: blocks,
    rank: 1,
    height: Math.ceil(nOut / blocks),
    width: Math.ceil(nIn / blocks),
  });

/** The shorter side of a block, which is its full rank. */
const blockSide = ({ nOut, nIn, blocks }: BlockedSize): number => Math.ceil(Math.min(nOut, nIn) / blocks);

/**
 * Monarch matrices (Dao et al. 2022, arXiv 2204.00595): two block-diagonal products with a permutation between them.
 * This equals a grid of low-rank blocks, each of which has every J-th row. With one block it is a low-rank matrix.
 * Parameters: `first` (n_in, r, blocks) and `second` (n_out, blocks, r).
 */
export const monarch = blockStructure({
  stored: STORED_MONARCH,
  order: "strided",
  chooseBlocks: chooseMonarchBlocks,
});

/** A number of blocks is considered if rank times blocks reaches this share of its maximum. */
const WELL_SPENT = 0.95;

/**
 * Chooses the number of blocks on each side, such that rank 1 is affordable. The inner dimension of the product should
 * be about min(n_out, n_in), as in the published layers. Numbers of blocks near this value are considered. Of those
 * whose integer ranks use most of the budget, the nearest is chosen.
 */
export function chooseMonarchBlocks(allowed: number, { nOut, nIn }: MatrixSize): number {
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

const USUAL_BLOCKS = 4;

/**
 * Block low rank: a grid of contiguous blocks of the same low rank. This is a Monarch matrix without the permutation of
 * rows. Parameters as in `monarch`.
 */
export const blockLowRank = blockStructure({
  stored: STORED_BLOCK_LOW_RANK,
  order: "contiguous",
  chooseBlocks: chooseNeighborBlocks,
});

/** Four blocks on each side, or fewer if rank 1 in all of them is not affordable. */
function chooseNeighborBlocks(allowed: number, size: MatrixSize): number {
  let blocks = Math.min(USUAL_BLOCKS, size.nOut, size.nIn);
  while (blocks > 1 && rankOfBlocks(allowed, { ...size, blocks }) < 1) {
    blocks--;
  }
  return blocks;
}
