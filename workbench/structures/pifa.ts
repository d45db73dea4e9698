// Low-rank matrices in the form of PIFA (Zhao et al., ICML 2025): r rows of the matrix, the pivots, are stored, and the
// other rows as combinations of them. It has r² values less than two factors of the same matrix, r (n_out + n_in − r),
// and never more than the dense matrix. It is a reference for low rank: the same matrices at a lower cost.

import {
  cast,
  concat,
  gather,
  matMul,
  mul,
  type Tensor,
  type Tensor2D,
  tensor1d,
  tensor2d,
  tidy,
} from "@tensorflow/tfjs-core";
import { LU, Matrix } from "ml-matrix";
import { STORED_PIFA } from "../../hub/model-folder/index.ts";
import { linear } from "../engine/ops/index.ts";
import { expectOperand } from "../engine/ops/operands.ts";
import type { Triples } from "../gblr/init/index.ts";
import { allowance, expectPaid, type MatrixSize } from "./budget.ts";
import { defineStructure } from "./define.ts";
import { type LowRankParameters, nearestFactors, nearestInOutputs } from "./lowrank.ts";
import { parametersNamed, type StructureParameters } from "./structure.ts";

const { name } = STORED_PIFA;

/**
 * Parameters: `pivots` (r, n_in), `coefficients` (n_out − r, r) and `order` (n_out): row o of the matrix is row order[o]
 * of the pivots followed by the other rows.
 */
export const pifa = defineStructure<{ triples?: Triples | undefined }>(STORED_PIFA, {
  fixed: ["order"],

  /** @throws EngineError when rank 1 is not affordable within the budget */
  async fromDense(weight, budget, options = {}) {
    expectOperand(name, { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
    const [nOut, nIn] = weight.shape;
    return pivoted(await nearestFactors(weight, rankWithin({ nOut, nIn }, budget), options));
  },

  costWithin: (size, budget) => costOf(rankWithin(size, budget), size),

  apply(parameters, x) {
    const { pivots, coefficients, order } = partsOf(parameters);
    return tidy(() => {
      const first = linear(x, pivots);
      const all = coefficients.size === 0 ? first : concat([first, linear(first, coefficients)], -1);
      return gather(all, cast(order, "int32"), x.rank - 1);
    });
  },

  dense(parameters) {
    const { pivots, coefficients, order } = partsOf(parameters);
    return tidy(() => {
      const all = coefficients.size === 0 ? pivots : concat([pivots, matMul<Tensor2D>(coefficients, pivots)]);
      return gather(all, cast(order, "int32"));
    });
  },

  async cost(parameters) {
    const { pivots, coefficients } = partsOf(parameters);
    return pivots.size + coefficients.size;
  },

  inspect: async ({ shapes: { pivots = [], coefficients = [] } }) => ({
    cost: [pivots, coefficients].reduce((sum, [rows = 0, columns = 0]) => sum + rows * columns, 0),
  }),

  scaleInputs: ({ pivots }, scale) => ({ pivots: mul(pivots as Tensor, scale) }),

  rankCosts: { svd: costOf, activation: costOf },

  starts: {
    // biome-ignore lint/correctness/useYield: this initialization reports no progress
    async *activation(weight, options) {
      const { nIn, nOut, cost } = options.layer;
      const factors = await nearestInOutputs(weight, rankOf(cost, { nOut, nIn }), options);
      return { parameters: await pivoted(factors), by: "activation" };
    },
  },
});

/** Multiply-adds per row. */
function costOf(rank: number, { nOut, nIn }: MatrixSize): number {
  return rank * (nOut + nIn - rank);
}

/** The largest rank that costs at most `allowed`, at least 1. */
function rankOf(allowed: number, { nOut, nIn }: MatrixSize): number {
  const most = Math.min(nOut, nIn);
  let rank = 1;
  while (rank < most && costOf(rank + 1, { nOut, nIn }) <= allowed) rank++;
  return rank;
}

function rankWithin(size: MatrixSize, budget: number): number {
  const rank = rankOf(allowance(name, budget, size), size);
  expectPaid({ structure: name, what: `rank ${rank}`, cost: costOf(rank, size), budget, ...size });
  return rank;
}

/**
 * The pivots of a product and the coefficients of its other rows. The pivots are those of Gaussian elimination of the
 * left factor with row exchanges, in float64: L U = left, so the other rows are L₂ L₁⁻¹ times the pivots.
 */
async function pivoted({ left, right }: LowRankParameters): Promise<StructureParameters> {
  const [nOut, rank] = left.shape;
  const { lowerTriangularMatrix: lower, pivotPermutationVector: rows } = new LU(
    Matrix.from1DArray(nOut, rank, await left.data()),
  );
  const rest = nOut - rank;
  const coefficients = new Float32Array(rest * rank);
  const row = new Float64Array(rank);
  for (let i = 0; i < rest; i++) {
    // Back substitution of c L₁ = l, where L₁ has ones on its diagonal.
    for (let j = rank - 1; j >= 0; j--) {
      let value = lower.get(rank + i, j);
      for (let k = j + 1; k < rank; k++) value -= (row[k] as number) * lower.get(k, j);
      row[j] = value;
    }
    coefficients.set(row, i * rank);
  }
  const order = new Float32Array(nOut);
  for (const [at, o] of rows.entries()) order[o] = at;
  const pivots = tidy(() => matMul<Tensor2D>(gather(left, tensor1d(rows.slice(0, rank), "int32")), right));
  left.dispose();
  right.dispose();
  return { pivots, coefficients: tensor2d(coefficients, [rest, rank]), order: tensor1d(order) };
}

function partsOf(parameters: StructureParameters): { pivots: Tensor2D; coefficients: Tensor2D; order: Tensor } {
  const { pivots, coefficients, order } = parametersNamed(name, parameters, ["pivots", "coefficients", "order"]);
  expectOperand(name, { pivots }, { dtype: "float32", shape: ["rank", "n_in"] });
  const [rank] = pivots.shape as [number];
  expectOperand(name, { coefficients }, { dtype: "float32", shape: ["rest", rank] });
  expectOperand(name, { order }, { dtype: "float32", shape: [rank + (coefficients.shape[0] as number)] });
  return { pivots: pivots as Tensor2D, coefficients: coefficients as Tensor2D, order };
}
