// The structure `dense`, which is the matrix itself. Other structures are compared with it, and layers keep it where
// another structure would not cost less.

import { clone, conv2d, type Tensor2D, type Tensor4D } from "@tensorflow/tfjs-core";
import { STORED_DENSE } from "../../hub/model-folder/index.ts";
import { linear } from "../engine/ops/index.ts";
import { expectOperand } from "../engine/ops/operands.ts";
import { expectPaid, type MatrixSize } from "./budget.ts";
import { parametersNamed, type Structure, type StructureParameters } from "./structure.ts";

/** Parameters: `weight` (n_out, n_in); for a convolution, the kernel (rows, columns, channels, n_out). */
export const dense: Structure = {
  name: STORED_DENSE.name,
  stored: STORED_DENSE,
  isDense: true,
  parameterNames: ["weight"],

  /** @throws EngineError when the budget is below 1 */
  async fromDense(weight, budget) {
    expectOperand("dense", { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
    const [nOut, nIn] = weight.shape;
    allPaid({ nOut, nIn }, budget);
    return { weight: clone(weight) };
  },

  costWithin: allPaid,

  apply: (parameters, x) => linear(x, weightOf(parameters)),

  dense: (parameters) => clone(weightOf(parameters)),

  convolve: ({ weight }, x, { stride, padding }) => conv2d(x, weight as Tensor4D, stride, padding),

  inspect: async ({ nIn, nOut }) => ({ cost: nIn * nOut }),

  async cost(parameters) {
    return weightOf(parameters).size;
  },
};

function allPaid({ nOut, nIn }: MatrixSize, budget: number): number {
  expectPaid({ structure: "dense", what: "all", cost: nOut * nIn, budget, nOut, nIn });
  return nOut * nIn;
}

function weightOf(parameters: StructureParameters): Tensor2D {
  const { weight } = parametersNamed("dense", parameters, ["weight"]);
  expectOperand("dense", { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
  return weight as Tensor2D;
}
