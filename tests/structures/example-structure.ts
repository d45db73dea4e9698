// A structure that is defined outside the workbench: a diagonal plus a low-rank matrix. This file holds everything that
// the workbench and Python need to know about it; docs/add-a-structure.md explains it.

import { add, eye, matMul, mul, pad, slice, sub, sum, type Tensor, type Tensor2D, tidy } from "@tensorflow/tfjs-core";
import type { MatrixSize } from "../../workbench/structures/budget.ts";
import { defineStructure } from "../../workbench/structures/define.ts";
import { lowrank } from "../../workbench/structures/lowrank.ts";

const python = `"""A diagonal plus a low-rank matrix."""

import torch

from gblr_layers import StructuredLinear


class DiagonalLowRankLinear(StructuredLinear):
    parts = {"diagonal": ("side",), "left": ("n_out", "rank"), "right": ("rank", "n_in")}

    def matrix(self):
        side = len(self.diagonal)
        square = torch.nn.functional.pad(torch.diag(self.diagonal), (0, self.n_in - side, 0, self.n_out - side))
        return square + self.left @ self.right
`;

const stored = {
  name: "diagonal-low-rank",
  title: "diagonal plus low rank",
  matrices: "diagonal plus low-rank matrices",
  parts: { diagonal: ["side"], left: ["n_out", "r"], right: ["r", "n_in"] },
  rules: [
    { size: "side", is: { smaller: ["n_in", "n_out"] } as const },
    { size: "r", from: 1 },
  ],
  python: { linear: "DiagonalLowRankLinear", source: python },
};

export const diagonalLowRank = defineStructure(stored, {
  costWithin: (size, budget) => Math.min(size.nOut, size.nIn) + lowrank.costWithin(size, budgetOfRest(size, budget)),
  async fromDense(weight, budget) {
    const [nOut, nIn] = weight.shape;
    const side = Math.min(nOut, nIn);
    const diagonal = tidy(() => sum(mul(slice(weight, [0, 0], [side, side]), eye(side)), 1));
    const rest = tidy(() => sub<Tensor2D>(weight, onDiagonal(diagonal, weight.shape)));
    const factors = await lowrank.fromDense(rest, budgetOfRest({ nOut, nIn }, budget));
    rest.dispose();
    return { diagonal, ...factors };
  },
  dense: ({ diagonal, left, right }) =>
    tidy(() => {
      const low = matMul(left as Tensor2D, right as Tensor2D) as Tensor2D;
      return add(low, onDiagonal(diagonal as Tensor, low.shape));
    }),
});

/** The budget of the low-rank part: what the diagonal leaves. */
const budgetOfRest = ({ nOut, nIn }: MatrixSize, budget: number): number =>
  Math.max(Number.EPSILON, budget - Math.min(nOut, nIn) / (nOut * nIn));

/** The matrix of this shape with these values on its diagonal and zeros elsewhere. */
function onDiagonal(diagonal: Tensor, shape: [number, number]): Tensor2D {
  const behind = shape.map((length): [number, number] => [0, length - diagonal.size]);
  return pad(mul<Tensor2D>(eye(diagonal.size), diagonal), behind);
}
