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

  /** Disposes of the mean. */
  dispose(): void {
    this.mean?.dispose();
    this.mean = undefined;
  }
}
