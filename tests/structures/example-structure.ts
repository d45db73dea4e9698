// A structure that is nowhere in the workbench: a diagonal plus a low-rank matrix. All that the workbench and Python need to
// know of it is here; docs/add-a-structure.md explains it.

import { add, eye, matMul, mul, pad, slice, sub, sum, type Tensor2D, tidy } from "@tensorflow/tfjs-core";
import type { StoredStructure } from "../../hub/model-folder/index.ts";
import { linear } from "../../workbench/engine/ops/index.ts";
import { allowance, expectPaid } from "../../workbench/structures/budget.ts";
import { lowrank } from "../../workbench/structures/lowrank.ts";
import type { Structure } from "../../workbench/structures/structure.ts";

const stored: StoredStructure = {
  name: "diagonal-low-rank",
  title: "diagonal plus low rank",
  matrices: "diagonal plus low-rank matrices",
  parts: { diagonal: ["side"], left: ["n_out", "r"], right: ["r", "n_in"] },
  rules: [
    { size: "side", is: { smaller: ["n_in", "n_out"] } },
    { size: "r", from: 1 },
  ],
  python: {
    linear: "DiagonalLowRankLinear",
    source: `"""A diagonal plus a low-rank matrix."""

import torch

from gblr_layers import StructuredLinear


class DiagonalLowRankLinear(StructuredLinear):
    parts = {"diagonal": ("side",), "left": ("n_out", "rank"), "right": ("rank", "n_in")}

    def matrix(self):
        side = len(self.diagonal)
        square = torch.nn.functional.pad(torch.diag(self.diagonal), (0, self.n_in - side, 0, self.n_out - side))
        return square + self.left @ self.right
`,
  },
};

/** Parameters: `diagonal` (min(n_out, n_in)), `left` (n_out, r) and `right` (r, n_in). */
export const diagonalLowRank: Structure = {
  name: stored.name,
  stored,
  parameterNames: ["diagonal", "left", "right"],

  async fromDense(weight, budget) {
    const [nOut, nIn] = weight.shape;
    const side = Math.min(nOut, nIn);
    const share = (diagonalLowRank.costWithin({ nOut, nIn }, budget) - side) / (nOut * nIn);
    const diagonal = tidy(() => sum(mul(slice(weight, [0, 0], [side, side]), eye(side)), 1));
    const rest = tidy(() => sub<Tensor2D>(weight, onDiagonal(diagonal as Tensor2D, weight.shape)));
    const factors = await lowrank.fromDense(rest, share);
    rest.dispose();
    return { diagonal, ...factors };
  },

  costWithin(size, budget) {
    const side = Math.min(size.nOut, size.nIn);
    const affordable = Math.floor((allowance(stored.name, budget, size) - side) / (size.nOut + size.nIn));
    const cost = side + Math.max(1, Math.min(affordable, side)) * (size.nOut + size.nIn);
    expectPaid({ structure: stored.name, what: "a diagonal and rank 1", cost, budget, ...size });
    return cost;
  },

  apply: (parameters, x) => tidy(() => linear(x, diagonalLowRank.dense(parameters))),

  dense({ diagonal, left, right }) {
    return tidy(() => {
      const low = matMul(left as Tensor2D, right as Tensor2D) as Tensor2D;
      return add(low, onDiagonal(diagonal as Tensor2D, low.shape));
    });
  },

  cost: async (parameters) => Object.values(parameters).reduce((total, { size }) => total + size, 0),
};

function onDiagonal(diagonal: Tensor2D, [nOut, nIn]: [number, number]): Tensor2D {
  const side = Math.min(nOut, nIn);
  const behind = [nOut - side, nIn - side].map((length): [number, number] => [0, length]);
  return pad(mul<Tensor2D>(eye(side), diagonal), behind as [[number, number], [number, number]]);
}
