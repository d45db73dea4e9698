// Low-rank matrices W = left · right, which are applied as two thin products. The rank is given, or it is the largest
// affordable one, or the smallest one that keeps a share of the energy. allocation.ts chooses the ranks of several
// layers together.

import {
  conv2d,
  matMul,
  mul,
  reshape,
  slice,
  sqrt,
  squeeze,
  type Tensor2D,
  type Tensor4D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { STORED_LOW_RANK } from "../../hub/model-folder/index.ts";
import { svd } from "../engine/linalg/index.ts";
import { linear } from "../engine/ops/index.ts";
import { expectOperand, expectSetting } from "../engine/ops/operands.ts";
import { activationAwareSvd, firstTriples } from "../gblr/init/index.ts";
import { affordableRank, allowance, expectPaid, type MatrixSize, rankOfEnergy } from "./budget.ts";
import { kernelOf } from "./convolution.ts";
import { defineStructure } from "./define.ts";
import { expectCovariance, parametersNamed, type StartOptions, type StructureParameters } from "./structure.ts";

interface LowRankOptions {
  /** exactly this rank. Default the largest rank affordable within the budget */
  rank?: number;
  /** share of Σ s² to keep, from 0 to 1: the smallest such rank is used, but at most the affordable one */
  energy?: number;
}

/** Parameters: `left` (n_out, rank) and `right` (rank, n_in), with √s on each side. */
export const lowrank = defineStructure<LowRankOptions>(STORED_LOW_RANK, {
  /**
   * @throws EngineError when the rank, or rank 1, is not affordable within the budget; ShapeError for invalid options
   */
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

  // A convolution to `rank` channels, then a linear layer.
  convolve(parameters, x, geometry) {
    const { left, right } = factorsOf(parameters);
    const { stride, padding } = geometry;
    return tidy(() => linear(conv2d(x, kernelOf(right, geometry), stride, padding), left) as Tensor4D);
  },

  starts: {
    // biome-ignore lint/correctness/useYield: this initialization reports no progress
    async *activation(weight, options) {
      return { parameters: await nearestInOutputs(weight, options), by: "activation" };
    },
  },
});

async function nearestInOutputs(weight: Tensor2D, { layer, covariance }: StartOptions): Promise<StructureParameters> {
  const { nIn, nOut, cost } = layer;
  const factors = await activationAwareSvd(weight, expectCovariance(layer, covariance), {
    blocks: cost / (nIn + nOut),
  });
  const { lr_weight1, lr_weight2, singularValues } = factors;
  const parameters = tidy(() => ({
    left: transpose(squeeze(lr_weight2, [2]) as Tensor2D),
    right: reshape(lr_weight1, [lr_weight1.shape[0], nIn]),
  }));
  for (const tensor of [lr_weight1, lr_weight2, singularValues]) tensor.dispose();
  return parameters;
}

/** The rank given by the options, or the largest rank affordable within the budget. */
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
