// The parameters of a GBLR matrix under the names and shapes that the reference implementation gives them, and the
// settings of its masks. Holds no arithmetic.

import type { Tensor } from "@tensorflow/tfjs-core";

/**
 * W (n_out, n_in) = Σ_k (m_out,k ⊙ u_k)(m_in,k ⊙ v_k)ᵀ with K blocks of rank r (arXiv 2310.18882, section 3).
 * Row 0 of `widths` and `locations` is the input side, row 1 the output side.
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

export interface MaskSettings {
  /** smoothness of the mask; Infinity: no Gaussian, an exact 0/1 boxcar. Default Infinity */
  sigma?: number;
  /** widths and locations rounded to whole samples, gradients passing unchanged. Default true */
  straightThrough?: boolean;
  /** `eval`: blocks one sample wide and entries below 1e-3 are dropped. Default `train` */
  mode?: "train" | "eval";
}
