// Low-rank matrices W = left · right, which are applied as two thin products. The rank is the largest affordable one.
// allocation.ts chooses the ranks of several layers together.

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
import { ShapeError } from "../engine/core/errors.ts";
import { svd } from "../engine/linalg/index.ts";
import { linear } from "../engine/ops/index.ts";
import { expectOperand } from "../engine/ops/operands.ts";
import { activationAwareSvd, firstTriples, type Triples } from "../gblr/init/index.ts";
import { affordableRank, allowance, expectPaid, type MatrixSize } from "./budget.ts";
import { kernelOf } from "./convolution.ts";
import { defineStructure } from "./define.ts";
import { stepSizesBeside } from "./factor-sizes.ts";
import { asvd, fwsvd } from "./fit/weighted-svd.ts";
import {
  expectCovariance,
  type NestedStart,
  parametersNamed,
  type StartOptions,
  type Structure,
  type StructureParameters,
} from "./structure.ts";

/** left (n_out, rank) times right (rank, n_in). */
export type LowRankParameters = { left: Tensor2D; right: Tensor2D };

interface LowRankOptions {
  /** all singular triples of the matrix, if they are known, so that it is not decomposed again */
  triples?: Triples | undefined;
}

/** Parameters: `left` (n_out, rank) and `right` (rank, n_in), with √s on each side. */
export const lowrank: Structure<LowRankOptions> = defineStructure<LowRankOptions>(STORED_LOW_RANK, {
  /** @throws EngineError when rank 1 is not affordable within the budget */
  async fromDense(weight, budget, options = {}) {
    expectOperand("lowrank", { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
    const [nOut, nIn] = weight.shape;
    return { ...(await nearestFactors(weight, rankWithin({ nOut, nIn }, budget), options)) };
  },

  costWithin: (size, budget) => rankWithin(size, budget) * (size.nOut + size.nIn),

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

  stepSizes(parameters) {
    const { left, right } = factorsOf(parameters);
    return tidy(() => ({
      left: transpose(stepSizesBeside(right, 1)),
      right: transpose(stepSizesBeside(left, 0)),
    }));
  },

  nested: { svd: nestedWith(nearestFactors), activation: nestedWith(nearestInOutputs) },

  async nestedMatrix(parameters, ranks) {
    const { left, right } = factorsOf(parameters);
    const [nOut, stored] = left.shape;
    const nIn = right.shape[1];
    const most = ranks.at(-1) ?? [];
    if (most.length !== 1 || most[0] !== stored) {
      throw new ShapeError(`has rank ${stored}, its sizes have ${most.join(" and ") || "none"}`);
    }
    return {
      cost: ([rank = 0]) => rank * (nOut + nIn),
      cut: async ([rank = 0]) => ({
        structure: lowrank,
        parameters: { left: slice(left, [0, 0], [nOut, rank]), right: slice(right, [0, 0], [rank, nIn]) },
      }),
    };
  },

  scaleInputs: ({ right }, scale) => ({ right: mul(right as Tensor2D, scale) }),

  starts: {
    // biome-ignore lint/correctness/useYield: this initialization reports no progress
    async *activation(weight, options) {
      const { nIn, nOut, cost } = options.layer;
      return { parameters: { ...(await nearestInOutputs(weight, cost / (nIn + nOut), options)) }, by: "activation" };
    },
    asvd,
    fwsvd,
  },
});

/**
 * The optimum of the output error. This is the truncation of SVD-LLM (Wang et al., ICLR 2025, arXiv 2403.07378), which
 * writes it with a Cholesky factor of Σ where this has Σ^½: the singular values and the product are the same.
 */
export async function nearestInOutputs(
  weight: Tensor2D,
  rank: number,
  { layer, covariance, triples }: Pick<StartOptions, "layer" | "covariance" | "triples">,
): Promise<LowRankParameters> {
  const factors = await activationAwareSvd(weight, expectCovariance(layer, covariance), { blocks: rank, triples });
  const { lr_weight1, lr_weight2, singularValues } = factors;
  const parameters = tidy(() => ({
    left: transpose(squeeze(lr_weight2, [2]) as Tensor2D),
    right: reshape(lr_weight1, [rank, weight.shape[1]]) as Tensor2D,
  }));
  for (const tensor of [lr_weight1, lr_weight2, singularValues]) tensor.dispose();
  return parameters;
}

/** An initialization for several sizes: the first ranks of these factors are the best ones of their number. */
function nestedWith(
  factors: (weight: Tensor2D, rank: number, options: StartOptions) => Promise<LowRankParameters>,
): NestedStart {
  return async function* (weight, { allowed, init, ...options }) {
    const ranks = allowed.map((cost) => [affordableRank(cost, options.layer)]);
    const parameters = await factors(weight, ranks.at(-1)?.[0] ?? 1, options);
    const cost = (ranks.at(-1)?.[0] ?? 0) * (options.layer.nIn + options.layer.nOut);
    return { parameters: { ...parameters }, by: init, ranks, cost };
  };
}

/** The largest rank affordable within the budget. */
function rankWithin({ nOut, nIn }: MatrixSize, budget: number): number {
  const rank = Math.max(1, affordableRank(allowance("lowrank", budget, { nOut, nIn }), { nOut, nIn }));
  expectPaid({ structure: "lowrank", what: `rank ${rank}`, cost: rank * (nOut + nIn), budget, nOut, nIn });
  return rank;
}

/** The factors `left` and `right` of the nearest matrix of a rank, with √s on each side. */
export async function nearestFactors(
  weight: Tensor2D,
  rank: number,
  { triples }: LowRankOptions = {},
): Promise<LowRankParameters> {
  const { u, s, v } = await firstTriples(triples, { rank }, () => svd(weight, { rank }));
  const factors = tidy(() => {
    const root = sqrt(s);
    return { left: mul<Tensor2D>(u, root), right: transpose(mul<Tensor2D>(v, root)) };
  });
  for (const tensor of [u, s, v]) tensor.dispose();
  return factors;
}

function factorsOf(parameters: StructureParameters): LowRankParameters {
  const { left, right } = parametersNamed("lowrank", parameters, ["left", "right"]);
  expectOperand("lowrank", { right }, { dtype: "float32", shape: ["rank", "n_in"] });
  const [rank] = (right as Tensor2D).shape;
  expectOperand("lowrank", { left }, { dtype: "float32", shape: ["n_out", rank] });
  return { left: left as Tensor2D, right: right as Tensor2D };
}
