// linearCrossEntropy, a language model's head and its loss in one op: the logits, the largest tensor of training, are
// made some rows at a time and never kept. Where a gradient may follow, each rows' logits become their gradient on the
// spot (Wijmans et al. 2024, arXiv 2411.09009, do so in one kernel), so that nothing is computed twice. Made of kernels
// that every engine has.

import {
  add,
  concat,
  div,
  fill,
  matMul,
  mul,
  type Scalar,
  slice,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tidy,
} from "@tensorflow/tfjs-core";
import { differentiable, runKernel } from "./differentiable.ts";
import { CROSS_ENTROPY, CROSS_ENTROPY_GRADIENT } from "./kernels.ts";
import { linear } from "./linear.ts";
import { expectOperand, expectSetting } from "./operands.ts";

export interface LinearCrossEntropyOptions {
  /** logits in memory at one time, at most, but at least one row. Default 2^25: 134 MB, and as much for their gradient */
  chunk?: number;
}

const CHUNK = 2 ** 25;
const ATTRIBUTES = { ignoreIndex: -100, labelSmoothing: 0 };

/**
 * The mean over rows of lse(z) - z[target], z = x Wᵀ. A target that is no class makes it NaN, as in crossEntropy.
 * @param x float32 (rows, width), at least one row
 * @param weight float32 (classes, width)
 * @param targets int32 (rows)
 * @throws ShapeError when an operand does not fit
 */
export function linearCrossEntropy(
  x: Tensor,
  weight: Tensor,
  targets: Tensor,
  options: LinearCrossEntropyOptions = {},
): Scalar {
  const chunks = checked({ x, weight, targets }, options);
  const inputs = { x, weight };
  return differentiable({
    name: "linearCrossEntropy",
    inputs,
    forward: (recording) => {
      const loss = new Sum();
      const dWeight = new Sum();
      const dRows: Tensor[] = [];
      for (const [start, count] of chunks) {
        const parts = tidy(() => chunkLoss({ x, weight, targets }, { start, count, recording }));
        loss.add(parts.loss);
        if (parts.dRows) dRows.push(parts.dRows);
        if (parts.dWeight) dWeight.add(parts.dWeight);
      }
      const value = div(loss.total as Tensor, x.shape[0] as number);
      return { value, saved: recording ? [concat(dRows), dWeight.total as Tensor] : [] };
    },
    backward: (dy, [dx, dWeight]) => ({
      x: () => mul(dx as Tensor, dy),
      weight: () => mul(dWeight as Tensor, dy),
    }),
  }) as Scalar;
}

/**
 * The same for each row, without a gradient: for evaluation.
 * @returns float32 (rows)
 */
export function linearNll(
  x: Tensor,
  weight: Tensor,
  targets: Tensor,
  options: LinearCrossEntropyOptions = {},
): Tensor1D {
  const chunks = checked({ x, weight, targets }, options);
  return tidy("linearNll", () =>
    concat(
      chunks.map(([start, count]) =>
        tidy(() => {
          const logits = linear(rowsOf(x, start, count), weight);
          return runKernel(CROSS_ENTROPY, { logits, targets: slice(targets, start, count) }, ATTRIBUTES)[0] as Tensor1D;
        }),
      ),
    ),
  );
}

interface Operands {
  x: Tensor;
  weight: Tensor;
  targets: Tensor;
}

/** @returns start and count of the rows of each chunk */
function checked({ x, weight, targets }: Operands, { chunk = CHUNK }: LinearCrossEntropyOptions): [number, number][] {
  expectOperand("linearCrossEntropy", { x }, { dtype: "float32", shape: ["rows", "width"] });
  const [rows, width] = x.shape as [number, number];
  expectOperand("linearCrossEntropy", { weight }, { dtype: "float32", shape: ["classes", width] });
  expectOperand("linearCrossEntropy", { targets }, { dtype: "int32", shape: [rows] });
  const classes = weight.shape[0] as number;
  expectSetting("linearCrossEntropy", { rows }, "at least 1", rows > 0);
  expectSetting("linearCrossEntropy", { classes }, "at least 1", classes > 0);
  expectSetting("linearCrossEntropy", { chunk }, "a number above 0", chunk > 0);
  // Chunks of like sizes: a last one of a few rows would be a slow product.
  const count = Math.ceil(rows / Math.ceil(rows / Math.max(1, Math.floor(chunk / classes))));
  return Array.from({ length: Math.ceil(rows / count) }, (_, i) => [i * count, Math.min(count, rows - i * count)]);
}

function chunkLoss(
  { x, weight, targets: all }: Operands,
  { start, count, recording }: { start: number; count: number; recording: boolean },
): { loss: Tensor; dRows?: Tensor; dWeight?: Tensor } {
  const rows = rowsOf(x, start, count);
  const targets = slice(all, start, count);
  const logits = linear(rows, weight);
  const [losses, logSumExp] = runKernel(CROSS_ENTROPY, { logits, targets }, ATTRIBUTES) as [Tensor, Tensor];
  const loss = sum(losses);
  if (!recording) return { loss };
  const dy = fill([count], 1 / (x.shape[0] as number));
  const [dLogits] = runKernel(CROSS_ENTROPY_GRADIENT, { dy, logits, targets, logSumExp }, ATTRIBUTES) as [Tensor2D];
  logits.dispose();
  return { loss, dRows: matMul(dLogits, weight as Tensor2D), dWeight: matMul(dLogits, rows, true) };
}

const rowsOf = (x: Tensor, start: number, count: number): Tensor2D =>
  slice(x as Tensor2D, [start, 0], [count, x.shape[1] as number]);

/** A running sum that holds on to nothing but itself. */
class Sum {
  total: Tensor | undefined;

  add(part: Tensor): void {
    const before = this.total;
    this.total = before ? add(before, part) : part;
    if (before) {
      before.dispose();
      part.dispose();
    }
  }
}
