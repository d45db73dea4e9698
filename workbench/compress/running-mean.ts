// A running mean of x yᵀ over rows x and y, which every calibration computes. Each batch updates the mean: a float32 sum
// over many batches, divided at the end, would lose digits of the last ones.

import {
  add,
  matMul,
  mul,
  reshape,
  type Tensor,
  type Tensor2D,
  tidy,
  type Variable,
  variable,
  zeros,
} from "@tensorflow/tfjs-core";
import type { ProcessGroup } from "../distributed/process-group.ts";

/** The mean of x yᵀ over all rows so far. */
export class RunningMean {
  /** number of rows so far */
  rows = 0;
  /** float32 (n, n); undefined before the first rows. The caller disposes of it */
  mean: Variable | undefined;
  private readonly n: number;

  /** @param n entries of a row */
  constructor(n: number) {
    this.n = n;
  }

  /**
   * Adds rows to the mean.
   * @param x float32 (…, n)
   * @param y float32 like x, with the partner of each row. Default: x, which makes a covariance
   */
  take(x: Tensor, y: Tensor = x): void {
    tidy(() => {
      const flat = (rows: Tensor) => reshape(rows, [-1, this.n]) as Tensor2D;
      const left = flat(x);
      const count = left.shape[0];
      this.rows += count;
      const here = matMul(left, mul(flat(y), 1 / this.rows), true);
      this.mean ??= variable(zeros([this.n, this.n]), false);
      this.mean.assign(add(mul(this.mean, 1 - count / this.rows), here));
    });
  }

  /**
   * Replaces the mean by that of the rows of all processes, all of which call this.
   * @param counts the rows of each process, in the order of ranks
   */
  async combine(ranks: ProcessGroup, counts: readonly number[]): Promise<void> {
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (total === 0) return;
    this.mean = await weightedSum(this.mean, { shape: [this.n, this.n], weight: this.rows / total, ranks });
    this.rows = total;
  }

  /** Disposes of the mean. */
  dispose(): void {
    this.mean?.dispose();
    this.mean = undefined;
  }
}

/**
 * The sum over all processes of tensors times weights; all of them call this.
 * @param own of this process, which is replaced; undefined stands for zeros
 */
export async function weightedSum(
  own: Variable | undefined,
  { shape, weight, ranks }: { shape: number[]; weight: number; ranks: ProcessGroup },
): Promise<Variable> {
  const sum = tidy(() => variable(mul(own ?? zeros(shape), weight), false));
  own?.dispose();
  try {
    await ranks.allReduce([sum]);
  } catch (error) {
    sum.dispose();
    throw error;
  }
  return sum;
}
