// The Gaudi mask (arXiv 2310.18882, section 3) by its closed form: no Fourier transform, no complex numbers. Holds the
// masks' settings and the tables behind them as tensors, one set a length and smoothness on each engine; the functions in
// the tables are computed in edge-functions.ts.

import { engine, keep, type Tensor1D, type Tensor2D, tensor2d, tidy } from "@tensorflow/tfjs-core";
import { ShapeError } from "../engine/core/errors.ts";
import { type GaudiMaskTables, gaudiMask as windows } from "../engine/ops/gblr/gaudi-mask.ts";
import { type EdgeOptions, edgeFunctions } from "./edge-functions.ts";

export interface MaskSettings {
  /** smoothness of the mask; Infinity: no Gaussian, an exact 0/1 boxcar. Default Infinity */
  sigma?: number;
  /** `eval`: blocks one sample wide and entries of at most 1e-3 in size are dropped. Default `train` */
  mode?: "train" | "eval";
}

/**
 * Row k is 1 from sample round(l n) on for round(w n) samples of a circle of n, else 0; smoothed where σ is finite.
 * Gradients pass the rounding unchanged. Evaluation drops windows of one sample.
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
  { sigma = Number.POSITIVE_INFINITY, mode = "train" }: MaskSettings = {},
): Tensor2D {
  if (!(Number.isInteger(length) && length >= 1)) {
    throw new ShapeError(`gaudiMask: length must be an integer of at least 1, got ${length}`);
  }
  if (!(sigma > 0)) {
    throw new ShapeError(`gaudiMask: sigma must be above 0, Infinity for no Gaussian, got ${sigma}`);
  }
  const boxcar = sigma === Number.POSITIVE_INFINITY;
  return windows(widths, locations, maskTables({ length, sigma }), { boxcar, evaluate: mode === "eval" });
}

const MOST_KEPT = 32;
const kept = new WeakMap<object, Map<string, GaudiMaskTables>>();

/**
 * The tables of all masks of this length and σ, (1, n) each. Kept between calls, since every step asks for them again; the
 * oldest go first. The tensors belong to this cache: do not dispose of them.
 */
export function maskTables(options: EdgeOptions): GaudiMaskTables {
  const { backend } = engine();
  const tables = kept.get(backend) ?? new Map<string, GaudiMaskTables>();
  kept.set(backend, tables);
  const key = `${options.length} ${options.sigma}`;
  const known = tables.get(key);
  if (known && !known.edges.isDisposed && !known.slopes.isDisposed) return known;
  const { edge, slope } = edgeFunctions(options);
  const made = tidy(() => ({ edges: keep(toTensor(edge)), slopes: keep(toTensor(slope)) }));
  if (tables.size >= MOST_KEPT) {
    const [oldest, { edges, slopes }] = tables.entries().next().value as [string, GaudiMaskTables];
    edges.dispose();
    slopes.dispose();
    tables.delete(oldest);
  }
  tables.set(key, made);
  return made;
}

const toTensor = (values: Float64Array): Tensor2D => tensor2d(Float32Array.from(values), [1, values.length], "float32");
