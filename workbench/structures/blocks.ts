// Monarch and block low rank: both are a grid of blocks that all have one low rank, kept as two stacks of factors
// (block-factors.ts). They differ in which rows make a block, and in how many blocks there are by default.

import type { Tensor3D } from "@tensorflow/tfjs-core";
import { STORED_BLOCK_LOW_RANK, STORED_MONARCH, type StoredStructure } from "../../hub/model-folder/index.ts";
import { expectOperand, expectSetting } from "../engine/ops/operands.ts";
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

export interface BlockOptions {
  /** on each side. Default by the structure's own rule */
  blocks?: number;
  /** of each block. Default what the budget pays for */
  rank?: number;
}

interface BlockRule {
  stored: StoredStructure;
  order: RowOrder;
  /** blocks on each side for so many multiply-adds a row; may turn out too many to pay for */
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

    /** @throws EngineError when the budget does not pay for rank 1, or for the rank given */
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
  };
}

/** A matrix and how many blocks it has on each side. */
interface BlockedSize extends MatrixSize {
  blocks: number;
}

/** The largest rank that `allowed` multiply-adds a row pay for; 0 when none. */
const rankOfBlocks = (allowed: number, size: BlockedSize): number =>
  Math.min(Math.floor(allowed / costOfRank(size)), blockSide(size));

/** Multiply-adds a row for each rank. */
const costOfRank = ({ nOut, nIn, blocks }: BlockedSize): number =>
  blockCost({
    rows: blocks,
    columns: blocks,
    rank: 1,
    height: Math.ceil(nOut / blocks),
    width: Math.ceil(nIn / blocks),
  });

/** The shorter side of a block: its full rank. */
const blockSide = ({ nOut, nIn, blocks }: BlockedSize): number => Math.ceil(Math.min(nOut, nIn) / blocks);

/**
 * Monarch matrices (Dao et al. 2022, arXiv 2204.00595): two block-diagonal products with a permutation between them. Equal
 * to a grid of low-rank blocks, each of which takes every J-th row; with one block it is a low-rank matrix.
 * Parameters: `first` (n_in, r, blocks) and `second` (n_out, blocks, r).
 */
export const monarch = blockStructure({
  stored: STORED_MONARCH,
  order: "strided",
  chooseBlocks: chooseMonarchBlocks,
});

/** A number of blocks is considered when rank times blocks reaches this part of the most it can be */
const WELL_SPENT = 0.95;

/**
 * As many blocks as make the product in the middle about min(n_out, n_in) wide, like the published layers: the nearest
 * such number whose whole ranks spend the budget well. No more than leave rank 1.
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
 * Block low rank: a grid of neighboring blocks, each of the same low rank. A Monarch matrix without the permutation of
 * its rows. Parameters as Monarch's.
 */
export const blockLowRank = blockStructure({
  stored: STORED_BLOCK_LOW_RANK,
  order: "contiguous",
  chooseBlocks: chooseNeighborBlocks,
});

/** Four on each side, fewer where the budget does not pay for rank 1 in so many. */
function chooseNeighborBlocks(allowed: number, size: MatrixSize): number {
  let blocks = Math.min(USUAL_BLOCKS, size.nOut, size.nIn);
  while (blocks > 1 && rankOfBlocks(allowed, { ...size, blocks }) < 1) {
    blocks--;
  }
  return blocks;
}
