// A matrix of low rank: W = left · right, two thin products. The rank is given, or what the budget pays for, or what
// keeps a share of the energy; ranks for several layers at once come from allocation.ts.

import { matMul, mul, slice, sqrt, type Tensor2D, tidy, transpose } from "@tensorflow/tfjs-core";
import { svd } from "../engine/linalg/index.ts";
import { linear } from "../engine/ops/index.ts";
import { expectOperand, expectSetting } from "../engine/ops/operands.ts";
import { firstTriples } from "../gblr/init/index.ts";
import { allowance, expectPaid, type MatrixSize } from "./budget.ts";
import { parametersNamed } from "./parameters.ts";
import { affordableRank, rankOfEnergy } from "./rank.ts";
import type { Structure, StructureParameters } from "./structure.ts";

export interface LowRankOptions {
  /** exactly this many. Default what the budget pays for */
  rank?: number;
  /** share of Σ s² to keep, from 0 to 1: the smallest such rank, or the budget's where that is smaller */
  energy?: number;
}

/** Parameters: `left` (n_out, rank) and `right` (rank, n_in), singular values shared out evenly between them. */
export const lowrank: Structure<LowRankOptions> = {
  name: "lowrank",
  parameterNames: ["left", "right"],

  /** @throws EngineError when the budget does not pay for the rank, or for any; ShapeError for options that make no sense */
  async fromDense(weight, budget, options = {}) {
    expectOperand("lowrank", { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
    const [nOut, nIn] = weight.shape;
    return truncated(weight, rankWithin({ nOut, nIn }, budget, options), options.energy);
  },

  costWithin: (size, budget, options = {}) => rankWithin(size, budget, options) * (size.nOut + size.nIn),

  apply(parameters, x) {
    const { left, right } = factorsOf(parameters);
    return tidy(() => linear(linear(x, right), left));
  },

  dense(parameters) {
    const { left, right } = factorsOf(parameters);
    return matMul(left, right);
  },

  async cost(parameters) {
    const { left, right } = factorsOf(parameters);
    return left.size + right.size;
  },
};

/** The rank that the options ask for, or the largest that the budget pays for. */
function rankWithin({ nOut, nIn }: MatrixSize, budget: number, { rank: wanted, energy }: LowRankOptions): number {
  const most = Math.min(nOut, nIn);
  expectSetting("lowrank", { energy }, "left out when rank is given", wanted === undefined || energy === undefined);
  const isShare = energy === undefined || (energy >= 0 && energy <= 1);
  expectSetting("lowrank", { energy }, "from 0 to 1", isShare);
  const isRank = wanted === undefined || (Number.isInteger(wanted) && wanted >= 1 && wanted <= most);
  expectSetting("lowrank", { rank: wanted }, `an integer from 1 to ${most}`, isRank);
  const affordable = affordableRank(allowance("lowrank", budget, { nOut, nIn }), { nOut, nIn });
  const rank = wanted ?? Math.max(affordable, 1);
  expectPaid({ structure: "lowrank", what: `rank ${rank}`, cost: rank * (nOut + nIn), budget, nOut, nIn });
  return rank;
}

async function truncated(weight: Tensor2D, rank: number, energy?: number): Promise<StructureParameters> {
  const wanted = energy === undefined ? rank : Math.min(...weight.shape);
  const { u, s, v } = await firstTriples(weight, { rank: wanted }, () => svd(weight, { rank: wanted }));
  const kept = energy === undefined ? rank : Math.min(rank, rankOfEnergy(await s.data(), energy));
  const factors = tidy(() => {
    const root = sqrt(slice(s, 0, kept));
    const columns = (vectors: Tensor2D) => mul(slice(vectors, [0, 0], [-1, kept]), root);
    return { left: columns(u), right: transpose(columns(v)) };
  });
  for (const tensor of [u, s, v]) {
    tensor.dispose();
  }
  return factors;
}

function factorsOf(parameters: StructureParameters): { left: Tensor2D; right: Tensor2D } {
  const { left, right } = parametersNamed("lowrank", parameters, ["left", "right"]);
  expectOperand("lowrank", { right }, { dtype: "float32", shape: ["rank", "n_in"] });
  const [rank] = (right as Tensor2D).shape;
  expectOperand("lowrank", { left }, { dtype: "float32", shape: ["n_out", rank] });
  return { left: left as Tensor2D, right: right as Tensor2D };
}
