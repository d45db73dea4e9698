// Convolutions whose kernel is made of GBLR matrices, either one for each kernel position (`per_kernel`) or one for all
// (`integrated`). Builds the kernel and runs TensorFlow.js's convolution; strides and padding are the caller's.

import {
  add,
  conv2d,
  reshape,
  stack,
  type Tensor,
  type Tensor1D,
  type Tensor4D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { ShapeError } from "../engine/core/errors.ts";
import type { GblrMatrix } from "./matrix.ts";

export interface GblrConvolutionOptions {
  /** rows and columns */
  kernelSize: readonly [number, number];
  /** float32 (n_out) */
  bias?: Tensor;
  /** default 1 */
  stride?: number;
  /** zeros on each side of rows and columns; default 0 */
  padding?: number;
}

export class GblrConvolution {
  /**
   * `per_kernel`: one (n_out, n_in) for each kernel position, row by row; `integrated`: a single (n_out, rows · columns ·
   * n_in), its columns ordered by row, column, input channel
   */
  readonly matrices: readonly GblrMatrix[];
  readonly options: Readonly<GblrConvolutionOptions>;
  private readonly perKernel: boolean;

  /** @throws ShapeError when matrices and kernel size do not fit together */
  constructor(matrices: readonly GblrMatrix[], options: GblrConvolutionOptions) {
    const [rows, columns] = options.kernelSize;
    const positions = rows * columns;
    const [first] = matrices;
    this.perKernel = matrices.length === positions && positions > 1;
    if (!first || (matrices.length !== 1 && !this.perKernel)) {
      throw new ShapeError(`GblrConvolution: matrices must be 1 or ${positions}, got ${matrices.length}`);
    }
    if (matrices.some(({ nIn, nOut }) => nIn !== first.nIn || nOut !== first.nOut)) {
      throw new ShapeError("GblrConvolution: matrices must have one shape, got several");
    }
    if (!this.perKernel && first.nIn % positions !== 0) {
      throw new ShapeError(`GblrConvolution: n_in must be a multiple of ${positions}, got ${first.nIn}`);
    }
    this.matrices = matrices;
    this.options = options;
  }

  /** The dense kernel as TensorFlow.js wants it, (rows, columns, n_in, n_out). */
  kernel(): Tensor4D {
    const [rows, columns] = this.options.kernelSize;
    return tidy(() => {
      const dense = this.matrices.map((matrix) => transpose(matrix.dense()));
      const all = dense.length === 1 ? (dense[0] as Tensor) : stack(dense);
      const [{ nOut }] = this.matrices as [GblrMatrix];
      return reshape(all, [rows, columns, -1, nOut]);
    });
  }

  /**
   * @param x float32 (batch, height, width, n_in)
   * @returns float32 (batch, height', width', n_out), differentiable in x and all parameters
   */
  apply(x: Tensor4D): Tensor4D {
    const { stride = 1, padding = 0, bias } = this.options;
    return tidy(() => {
      const y = conv2d(x, this.kernel(), stride, padding);
      return bias === undefined ? y : add(y, bias as Tensor1D);
    });
  }

  /** Multiply-adds an output position, as the reference counts them. */
  async cost(): Promise<number> {
    const costs = await Promise.all(this.matrices.map((matrix) => matrix.cost()));
    return costs.reduce((sum, cost) => sum + cost, 0);
  }
}
