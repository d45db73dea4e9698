// The Gaudi mask (arXiv 2310.18882, section 3) by its closed form: no Fourier transform, no complex numbers.
// Rounding, smoothness and evaluation are settings here; the functions behind are in kernels.ts.

import type { Tensor1D, Tensor2D } from "@tensorflow/tfjs-core";
import { ShapeError } from "../engine/core/errors.ts";
import { gaudiMask as windows } from "../engine/ops/gblr/gaudi-mask.ts";
import { TERMS_BETWEEN_SAMPLES } from "./kernels.ts";
import { maskTables } from "./mask-tables.ts";
import type { MaskSettings } from "./parameters.ts";

/**
 * Row k is 1 from sample round(l n) on for round(w n) samples of a circle of n, else 0; smoothed where σ is finite.
 * Evaluation rounds always, and drops windows of one sample.
 * @param widths w, float32 (K), shares of `length`
 * @param locations l, float32 (K), shares of `length`, cyclic
 * @param length n, samples
 * @returns float32 (K, n), differentiable in widths and locations
 * @throws ShapeError when an operand or setting does not fit
 */
export function gaudiMask(
  widths: Tensor1D,
  locations: Tensor1D,
  length: number,
  { sigma = Number.POSITIVE_INFINITY, straightThrough = true, mode = "train" }: MaskSettings = {},
): Tensor2D {
  if (!(Number.isInteger(length) && length >= 1)) {
    throw new ShapeError(`gaudiMask: length must be an integer of at least 1, got ${length}`);
  }
  if (!(sigma > 0)) {
    throw new ShapeError(`gaudiMask: sigma must be above 0, Infinity for no Gaussian, got ${sigma}`);
  }
  const evaluate = mode === "eval";
  const rounded = straightThrough || evaluate;
  const tables = maskTables({ length, sigma, terms: rounded ? 1 : TERMS_BETWEEN_SAMPLES });
  const boxcar = rounded && sigma === Number.POSITIVE_INFINITY;
  return windows(widths, locations, tables, { boxcar, evaluate });
}
