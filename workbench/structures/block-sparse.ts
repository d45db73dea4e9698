// Block-sparse plus low-rank matrices as in Pixelfly (Chen et al. 2022, arXiv 2112.00029): dense blocks in a fixed flat
// butterfly pattern, and two thin factors for the rest of the budget. The pattern does not depend on the matrix.

import {
  add,
  gather,
  matMul,
  mul,
  reshape,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor4D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { STORED_BLOCK_SPARSE } from "../../hub/model-folder/index.ts";
import { linear } from "../engine/ops/index.ts";
import { asRows } from "../engine/ops/op.ts";
import { expectOperand, expectSetting } from "../engine/ops/operands.ts";
import { cut, filled } from "./block-factors.ts";
import {
  type BlockSparseParameters,
  blockCells,
  butterflyMasks,
  fitBlockSparse,
  type Pattern,
  placed,
} from "./block-sparse-pattern.ts";
import { allowance, expectPaid, type MatrixSize } from "./budget.ts";
import { defineStructure } from "./define.ts";
import { refittedToOutputs } from "./fit/activation-start.ts";
import { parametersNamed, type StructureParameters } from "./structure.ts";

interface BlockSparseOptions {
  /** blocks on each side, a power of two. Default: the largest affordable number up to 16 that needs little padding */
  side?: number;
  /** minimum share of the budget for the low-rank part, from 0 to 1, unless all blocks are kept. Default 0.25 */
  lowRankShare?: number;
  /** how many times both parts are fitted again after the first fit. Default 4 */
  rounds?: number;
}

/**
 * Parameters: `values` (side, height, kept, width), the kept blocks of each block row; `left` (n_out, r) and `right`
 * (r, n_in); r is 0 if every block is kept.
 */
export const blockSparse = defineStructure<BlockSparseOptions>(STORED_BLOCK_SPARSE, {
  /** @throws EngineError when the diagonal blocks are not affordable within the budget */
  async fromDense(weight, budget, options = {}) {
    expectOperand("block-sparse", { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
    const { rounds = 4 } = options;
    expectSetting("block-sparse", { rounds }, "a whole number from 0", Number.isInteger(rounds) && rounds >= 0);
    const [nOut, nIn] = weight.shape;
    const { side, kept, rank } = partsWithin({ nOut, nIn }, budget, options);
    return { ...(await fitBlockSparse(weight, { side, masks: butterflyMasks(side, kept), rank, rounds })) };
  },

  costWithin: (size, budget, options = {}) => partsWithin(size, budget, options).cost,

  apply(parameters, x) {
    const { values, left, right, pattern } = partsOf(parameters);
    const [nOut, nIn] = [left.shape[0], right.shape[1]];
    expectOperand("block-sparse", { x }, { dtype: "float32", shape: ["...", nIn] });
    return tidy(() => {
      const [side, height, kept, width] = values.shape;
      const rows = asRows(x) as Tensor2D;
      const count = rows.shape[0];
      const columns = reshape(filled(rows, 1, side * width), [count, side, width]);
      const inputs = reshape(gather(columns, blockCells(pattern).columns, 1), [count, side, kept * width]);
      const weights = reshape(values, [side, height, kept * width]);
      const outputs = transpose(matMul(transpose(inputs, [1, 0, 2]), weights, false, true), [1, 0, 2]);
      const sparse = cut(reshape(outputs, [count, side * height]) as Tensor2D, 1, nOut);
      const y = add(sparse, linear(linear(rows, right), left));
      return reshape(y, [...x.shape.slice(0, -1), nOut]);
    });
  },

  dense(parameters) {
    const { values, left, right, pattern } = partsOf(parameters);
    const [nOut, nIn] = [left.shape[0], right.shape[1]];
    return tidy(() => add(placed(values, pattern, { nOut, nIn }), matMul(left, right)));
  },

  scaleInputs(parameters, scale) {
    const { values, right, pattern } = partsOf(parameters);
    return { values: mul(values, ofBlocks(scale, values, pattern)), right: mul(right, scale) };
  },

  starts: { activation: refittedToOutputs },
});

/** A scale of the inputs by kept blocks, (side, 1, kept, width). */
function ofBlocks(scale: Tensor1D, { shape }: Tensor4D, pattern: Pattern): Tensor {
  const [side, , kept, width] = shape;
  const columns = reshape(filled(scale, 0, side * width), [side, width]);
  return reshape(gather(columns, blockCells(pattern).columns), [side, 1, kept, width]);
}

/** Blocks on each side, blocks kept per block row, and the affordable rank of the low-rank part. */
function partsWithin(
  { nOut, nIn }: MatrixSize,
  budget: number,
  { side: wanted, lowRankShare = 0.25 }: BlockSparseOptions,
) {
  const isShare = lowRankShare >= 0 && lowRankShare <= 1;
  expectSetting("block-sparse", { lowRankShare }, "from 0 to 1", isShare);
  const size = { nOut, nIn };
  const allowed = allowance("block-sparse", budget, size);
  const side = wanted ?? (allowed >= nOut * nIn ? 1 : usualSide(size, allowed));
  const isSide = Number.isInteger(Math.log2(side)) && side >= 1 && side <= Math.min(nOut, nIn);
  expectSetting("block-sparse", { side }, `a power of two from 1 to ${Math.min(nOut, nIn)}`, isSide);
  const layer = diagonal(size, side);
  const all = side * layer <= allowed;
  const kept = all ? side : Math.max(1, Math.min(side, Math.floor((allowed * (1 - lowRankShare)) / layer)));
  const what = `${kept} of ${side} blocks a row`;
  expectPaid({ structure: "block-sparse", what, cost: kept * layer, budget, ...size });
  const affordable = Math.floor((allowed - kept * layer) / (nOut + nIn));
  const rank = kept === side ? 0 : Math.min(affordable, nOut, nIn);
  return { side, kept, rank, cost: kept * layer + rank * (nOut + nIn) };
}

const SIDES = [16, 8, 4, 2, 1];
/** Share of entries that padding may add without fewer blocks being preferred. */
const LITTLE_PADDING = 1 / 16;

/** The largest affordable number of blocks with little padding, else the affordable number with the least padding. */
function usualSide({ nOut, nIn }: MatrixSize, allowed: number): number {
  const padding = (side: number) => Math.max(LITTLE_PADDING, (side * diagonal({ nOut, nIn }, side)) / (nOut * nIn) - 1);
  const possible = SIDES.filter((side) => side <= Math.min(nOut, nIn) && diagonal({ nOut, nIn }, side) <= allowed);
  return possible.reduce((best, side) => (padding(side) < padding(best) ? side : best), possible[0] ?? 1);
}

/** Entries of the blocks of one mask. */
const diagonal = ({ nOut, nIn }: MatrixSize, side: number): number =>
  side * Math.ceil(nOut / side) * Math.ceil(nIn / side);

/** Checks the parameters and derives the pattern from their shapes. */
function partsOf(parameters: StructureParameters): BlockSparseParameters & { pattern: Pattern } {
  const { values, left, right } = parametersNamed("block-sparse", parameters, ["values", "left", "right"]);
  expectOperand("block-sparse", { right }, { dtype: "float32", shape: ["rank", "n_in"] });
  const [rank, nIn] = right.shape as [number, number];
  expectOperand("block-sparse", { left }, { dtype: "float32", shape: ["n_out", rank] });
  const nOut = left.shape[0] as number;
  const side = values.shape[0] as number;
  const shape = [side, Math.ceil(nOut / side), "kept", Math.ceil(nIn / side)];
  expectOperand("block-sparse", { values }, { dtype: "float32", shape });
  const pattern = { side, masks: butterflyMasks(side, values.shape[2] as number) };
  return { values, left, right, pattern } as BlockSparseParameters & { pattern: Pattern };
}
