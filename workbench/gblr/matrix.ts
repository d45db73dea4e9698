// A GBLR matrix: its parameters, with the names and shapes of the reference implementation, the settings of its masks,
// and two ways to multiply with it (arXiv 2310.18882, section 3). It owns no tensors: whoever created the parameters
// disposes of them. The packed form for inference is in packed.ts.

import {
  expandDims,
  mul,
  pad,
  reshape,
  slice,
  type Tensor,
  type Tensor2D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { ShapeError } from "../engine/core/errors.ts";
import {
  canMultiplyLiveBlocks,
  gblrWeight,
  type LiveOperands,
  type LiveSide,
  linear,
  livePlan,
  liveProduct,
} from "../engine/ops/index.ts";
import { expectOperand } from "../engine/ops/operands.ts";
import { marginsOf } from "./margins.ts";
import { gaudiMask, type MaskSettings, maskTables } from "./mask.ts";
import { type BlockUse, blockUse } from "./widths.ts";

/**
 * The parameters of W (n_out, n_in) = Σ_k (m_out,k ⊙ u_k)(m_in,k ⊙ v_k)ᵀ with K blocks of rank r (arXiv 2310.18882,
 * section 3). Row 0 of `widths` and `locations` is the input side, row 1 the output side.
 */
export interface GblrParameters<T extends Tensor = Tensor> {
  /** v_k, (K, r, n_in) */
  lr_weight1: T;
  /** u_k, (K, n_out, r) */
  lr_weight2: T;
  /** (2, K), shares of n in [0, 1] */
  widths: T;
  /** (2, K), start of each block as a share of n, cyclic, in [0, 1) */
  locations: T;
  /** (n_out) */
  bias?: T;
}

/** Options of `GblrMatrix.apply`. */
export interface ApplyOptions {
  /**
   * `dense` builds the matrix, then makes one product (for large batches); `factored` makes two thin products (for
   * small batches). Default: the live blocks in training if they are narrow and the engine can multiply by them, otherwise
   * `dense`
   */
  via?: "dense" | "factored";
}

/** One value for each side of a matrix. */
export interface Sides<T> {
  input: T;
  output: T;
}

/** A GBLR matrix with given parameters and mask settings. */
export class GblrMatrix<T extends Tensor = Tensor> {
  readonly parameters: GblrParameters<T>;
  /** read at each product, so that a schedule can change them */
  settings: MaskSettings;
  readonly nIn: number;
  readonly nOut: number;
  /** K, the number of blocks, dead ones included */
  readonly blocks: number;
  /** r, the rank of each block */
  readonly rank: number;

  /** @throws ShapeError such as `GblrMatrix: widths must be float32 (2, 48), got float32 (2, 40)` */
  constructor(parameters: GblrParameters<T>, settings: MaskSettings = {}) {
    const { lr_weight1, lr_weight2, widths, locations, bias } = parameters;
    expectOperand("GblrMatrix", { lr_weight1 }, { dtype: "float32", shape: ["K", "r", "n_in"] });
    const [blocks, rank, nIn] = lr_weight1.shape as [number, number, number];
    expectOperand("GblrMatrix", { lr_weight2 }, { dtype: "float32", shape: [blocks, "n_out", rank] });
    const nOut = lr_weight2.shape[1] as number;
    expectOperand("GblrMatrix", { widths, locations }, { dtype: "float32", shape: [2, blocks] });
    if (bias !== undefined) {
      expectOperand("GblrMatrix", { bias }, { dtype: "float32", shape: [nOut] });
    }
    this.parameters = parameters;
    this.settings = settings;
    [this.blocks, this.rank, this.nIn, this.nOut] = [blocks, rank, nIn, nOut];
  }

  /** m_in (K, n_in) and m_out (K, n_out). */
  masks(): Sides<Tensor2D> {
    return tidy(() => ({ input: this.mask(0, this.nIn), output: this.mask(1, this.nOut) }));
  }

  /** Masked factors m ⊙ v, (K·r, n_in), and m ⊙ u, (K·r, n_out). Each block has r consecutive rows. */
  factors(): Sides<Tensor2D> {
    return tidy(() => {
      const { input, output } = this.masks();
      const { lr_weight1, lr_weight2 } = this.parameters;
      const rows = this.rank === 1 ? lr_weight2 : transpose(lr_weight2, [0, 2, 1]);
      return { input: this.masked(lr_weight1, input), output: this.masked(rows, output) };
    });
  }

  /** W, (n_out, n_in), without the bias; differentiable in all parameters. */
  dense(): Tensor2D {
    return tidy(() => {
      const { input, output } = this.factors();
      return gblrWeight(output, input);
    });
  }

  /**
   * The product y = x Wᵀ + b, differentiable in x and all parameters.
   * @param x float32 (..., n_in); shorter rows are padded with zeros
   * @returns float32 (..., n_out)
   * @throws ShapeError when rows of x are longer than n_in
   */
  apply(x: Tensor, { via }: ApplyOptions = {}): Tensor {
    if (via !== undefined && via !== "dense" && via !== "factored") {
      throw new ShapeError(`GblrMatrix: via must be "dense" or "factored", got ${String(via)}`);
    }
    return tidy(() => {
      const filled = filledUp(x, this.nIn);
      if (via !== "factored") {
        const live = via === undefined ? this.byLiveBlocks(filled) : undefined;
        return live ?? linear(filled, this.dense(), this.parameters.bias);
      }
      const { input, output } = this.factors();
      return linear(linear(filled, input), output, this.parameters.bias, { layout: "in_out" });
    });
  }

  /** Multiply-adds per row of x, as the reference counts them. */
  async cost(): Promise<number> {
    return (await this.use()).cost;
  }

  /** Which blocks are live, their cost and mean width. */
  async use(): Promise<BlockUse> {
    const { nIn, nOut, rank, settings } = this;
    const { sigma = Number.POSITIVE_INFINITY } = settings;
    return blockUse((await this.parameters.widths.data()) as Float32Array, { nIn, nOut, rank, sigma });
  }

  /** The product by live blocks; undefined where that by the dense matrix is faster, and in evaluation. */
  private byLiveBlocks(x: Tensor): Tensor | undefined {
    if (this.settings.mode === "eval" || !canMultiplyLiveBlocks()) return undefined;
    const { lr_weight1: input, lr_weight2: output, widths, locations, bias }: GblrParameters = this.parameters;
    const { sigma = Number.POSITIVE_INFINITY } = this.settings;
    const operands: LiveOperands = {
      ...{ input, output, widths, locations, bias },
      sides: { input: liveSide(this.nIn, sigma), output: liveSide(this.nOut, sigma) },
      boxcar: sigma === Number.POSITIVE_INFINITY,
    };
    const plan = livePlan(operands, x.size / this.nIn);
    return plan && liveProduct(x, operands, plan);
  }

  private mask(side: 0 | 1, length: number): Tensor2D {
    const [widths, locations] = [this.parameters.widths, this.parameters.locations].map((pair) =>
      reshape(slice(pair, [side, 0], [1, this.blocks]), [this.blocks]),
    );
    return gaudiMask(widths as never, locations as never, length, this.settings);
  }

  // rows (K, r, n) by mask (K, n) → (K·r, n)
  private masked(rows: Tensor, mask: Tensor2D): Tensor2D {
    const [blocks, n] = mask.shape;
    if (this.rank === 1) {
      return mul(reshape(rows, [blocks, n]), mask);
    }
    return reshape(mul(rows, expandDims(mask, 1)), [blocks * this.rank, n]);
  }
}

function liveSide(length: number, sigma: number): LiveSide {
  const { mask, slope } = marginsOf({ length, sigma });
  return { ...maskTables({ length, sigma }), maskMargin: mask, slopeMargin: slope };
}

/** Pads the rows of x with zeros: (..., n) → (..., width). */
export function filledUp(x: Tensor, width: number): Tensor {
  expectOperand("GblrMatrix", { x }, { dtype: "float32", shape: ["...", "n_in"] });
  const missing = width - (x.shape[x.rank - 1] as number);
  if (missing < 0) {
    throw new ShapeError(
      `GblrMatrix: x must be float32 (..., ${width}) or shorter, got float32 (${x.shape.join(", ")})`,
    );
  }
  return missing === 0 ? x : pad(x, [...x.shape.slice(1).map((): [number, number] => [0, 0]), [0, missing]]);
}
