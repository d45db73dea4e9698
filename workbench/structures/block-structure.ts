// Makes a structure of blocks of one rank each; monarch.ts and block-low-rank.ts say which rows make a block and how
// many blocks there are when nobody says.

import type { Tensor3D } from "@tensorflow/tfjs-core";
import { expectOperand, expectSetting } from "../engine/ops/operands.ts";
import { blockCost, blockMatrix, blockProduct, blockSizes, type RowOrder } from "./block-factors.ts";
import { projectBlocks } from "./block-projection.ts";
import { allowance, expectPaid, type MatrixSize } from "./budget.ts";
import { parametersNamed } from "./parameters.ts";
import type { Structure, StructureParameters } from "./structure.ts";

export interface BlockOptions {
  /** on each side. Default by the structure's own rule */
  blocks?: number;
  /** of each block. Default what the budget pays for */
  rank?: number;
}

export interface BlockRule {
  name: string;
  order: RowOrder;
  /** blocks on each side for so many multiply-adds a row; may turn out too many to pay for */
  chooseBlocks: (allowed: number, size: MatrixSize) => number;
}

/** Parameters: `first` (n_in, r, blocks) and `second` (n_out, blocks, r), see block-factors.ts. */
export function blockStructure({ name, order, chooseBlocks }: BlockRule): Structure<BlockOptions> {
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
  };
}

/** A matrix and how many blocks it has on each side. */
export interface BlockedSize extends MatrixSize {
  blocks: number;
}

/** The largest rank that `allowed` multiply-adds a row pay for; 0 when none. */
export const rankOfBlocks = (allowed: number, size: BlockedSize): number =>
  Math.min(Math.floor(allowed / costOfRank(size)), blockSide(size));

/** Multiply-adds a row for each rank. */
export const costOfRank = ({ nOut, nIn, blocks }: BlockedSize): number =>
  blockCost({
    rows: blocks,
    columns: blocks,
    rank: 1,
    height: Math.ceil(nOut / blocks),
    width: Math.ceil(nIn / blocks),
  });

/** The shorter side of a block: its full rank. */
const blockSide = ({ nOut, nIn, blocks }: BlockedSize): number => Math.ceil(Math.min(nOut, nIn) / blocks);
