// The structures Monarch, block low rank and BTT. All are a grid of blocks of the same low rank, stored as two stacks of
// factors (block-factors.ts). They differ in the rows of a block, and in the default number of blocks.

import { mul, reshape, type Tensor3D } from "@tensorflow/tfjs-core";
import {
  STORED_BLOCK_LOW_RANK,
  STORED_BTT,
  STORED_MONARCH,
  type StoredStructure,
} from "../../hub/model-folder/index.ts";
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
import { refittedToOutputs } from "./fit/activation-start.ts";
import { parametersNamed, type Structure, type StructureParameters } from "./structure.ts";

/** Options of Monarch, block low rank and BTT. */
export interface BlockOptions {
  /** blocks on each side. Default by the structure's own rule */
  blocks?: number;
  /** rank of each block. Default the largest rank affordable within the budget */
  rank?: number;
}

/** Numbers of blocks: J on the output side, K on the input side. */
interface Grid {
  rows: number;
  columns: number;
}

/** The differences between the structures. */
interface BlockRule {
  stored: StoredStructure;
  order: RowOrder;
  /** blocks for this many multiply-adds per row; may not be affordable */
  chooseGrid: (allowed: number, size: MatrixSize) => Grid;
}

/** Parameters: `first` (n_in, r, J) and `second` (n_out, K, r), see block-factors.ts. */
function blockStructure({ stored, order, chooseGrid }: BlockRule): Structure<BlockOptions> {
  const { name } = stored;
  const factorsOf = (parameters: StructureParameters) =>
    parametersNamed(name, parameters, ["first", "second"]) as { first: Tensor3D; second: Tensor3D };
  const gridWithin = (size: MatrixSize, budget: number, { blocks: wanted, rank: wantedRank }: BlockOptions) => {
    const { nOut, nIn } = size;
    const allowed = allowance(name, budget, size);
    const most = Math.min(nOut, nIn);
    const isCount = wanted === undefined || (Number.isInteger(wanted) && wanted >= 1 && wanted <= most);
    expectSetting(name, { blocks: wanted }, `an integer from 1 to ${most}`, isCount);
    const grid = wanted === undefined ? chooseGrid(allowed, size) : { rows: wanted, columns: wanted };
    const rank = wantedRank ?? Math.max(1, rankOfBlocks(allowed, { ...size, ...grid }));
    const mostRank = blockSide({ ...size, ...grid });
    const isRank = Number.isInteger(rank) && rank >= 1 && rank <= mostRank;
    expectSetting(name, { rank }, `an integer from 1 to ${mostRank}`, isRank);
    const cost = rank * costOfRank({ ...size, ...grid });
    const what = `rank ${rank} in ${grid.rows} × ${grid.columns} blocks`;
    expectPaid({ structure: name, what, cost, budget, ...size });
    return { ...grid, rank, cost };
  };
  return {
    name,
    stored,
    parameterNames: ["first", "second"],

    /** @throws EngineError when rank 1, or the given rank, is not affordable within the budget */
    async fromDense(weight, budget, options = {}) {
      expectOperand(name, { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
      const [nOut, nIn] = weight.shape;
      const { rows, columns, rank } = gridWithin({ nOut, nIn }, budget, options);
      return { ...(await projectBlocks(weight, { rows, columns, rank, order })) };
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

/** The largest rank affordable with `allowed` multiply-adds per row; 0 if none is. */
const rankOfBlocks = (allowed: number, size: MatrixSize & Grid): number =>
  Math.min(Math.floor(allowed / costOfRank(size)), blockSide(size));

/** Multiply-adds per row and rank. */
const costOfRank = ({ nOut, nIn, rows, columns }: MatrixSize & Grid): number =>
  blockCost({ rows, columns, rank: 1, height: Math.ceil(nOut / rows), width: Math.ceil(nIn / columns) });

/** The shorter side of a block, which is its full rank. */
const blockSide = ({ nOut, nIn, rows, columns }: MatrixSize & Grid): number =>
  Math.min(Math.ceil(nOut / rows), Math.ceil(nIn / columns));

const squareGrid = (blocks: number): Grid => ({ rows: blocks, columns: blocks });

/**
 * Monarch matrices (Dao et al. 2022, arXiv 2204.00595): two block-diagonal products with a permutation between them.
 * This equals a grid of low-rank blocks, each of which has every J-th row. With one block it is a low-rank matrix.
 * Parameters: `first` (n_in, r, blocks) and `second` (n_out, blocks, r).
 */
export const monarch = blockStructure({
  stored: STORED_MONARCH,
  order: "strided",
  chooseGrid: (allowed, size) => squareGrid(chooseMonarchBlocks(allowed, size)),
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
    return { blocks, spent: Math.min(side, blocks * rankOfBlocks(allowed, { nOut, nIn, ...squareGrid(blocks) })) };
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
  chooseGrid: (allowed, size) => squareGrid(chooseNeighborBlocks(allowed, size)),
});

/** Four blocks on each side, or fewer if rank 1 in all of them is not affordable. */
function chooseNeighborBlocks(allowed: number, size: MatrixSize): number {
  let blocks = Math.min(USUAL_BLOCKS, size.nOut, size.nIn);
  while (blocks > 1 && rankOfBlocks(allowed, { ...size, ...squareGrid(blocks) }) < 1) {
    blocks--;
  }
  return blocks;
}

/**
 * Block tensor train with two cores (BTT; Qiu et al. 2024, arXiv 2406.06248): √n_out × √n_in contiguous blocks, whose
 * rank is the rank of the train. In the authors' layer the output index is (α, β) and the input index (γ, δ); block
 * (α, γ) has the entries of all β and δ. Monarch and block low rank choose few blocks of high rank instead.
 * Parameters: `first` (n_in, r, J) and `second` (n_out, K, r).
 */
export const btt = blockStructure({ stored: STORED_BTT, order: "contiguous", chooseGrid: chooseBttGrid });

/**
 * The factors of both sides that are nearest to their roots; √n rounded, with padding, if there is none within a factor
 * of 2. Fewer blocks if rank 1 is not affordable.
 */
function chooseBttGrid(allowed: number, size: MatrixSize): Grid {
  const grid = { rows: lowerFactor(size.nOut), columns: Math.ceil(size.nIn / lowerFactor(size.nIn)) };
  while (grid.rows * grid.columns > 1 && rankOfBlocks(allowed, { ...size, ...grid }) < 1) {
    grid[grid.rows >= grid.columns ? "rows" : "columns"]--;
  }
  return grid;
}

/** The largest factor of n up to √n; ⌊√n⌋ if it is less than half of √n. */
function lowerFactor(n: number): number {
  const root = Math.floor(Math.sqrt(n));
  for (let factor = root; 2 * factor >= root; factor--) {
    if (n % factor === 0) return factor;
  }
  return root;
}
