// The matrix itself as a structure: what all others are measured against, and what a layer stays when nothing is
// gained by changing it.

import { clone, type Tensor2D } from "@tensorflow/tfjs-core";
import { linear } from "../engine/ops/index.ts";
import { expectOperand } from "../engine/ops/operands.ts";
import { expectPaid, type MatrixSize } from "./budget.ts";
import { parametersNamed } from "./parameters.ts";
import type { Structure, StructureParameters } from "./structure.ts";

/** Parameters: `weight` (n_out, n_in). */
export const dense: Structure = {
  name: "dense",
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
