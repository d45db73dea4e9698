// The Gaudi mask (arXiv 2310.18882, section 3) in closed form, without a Fourier transform or complex numbers. Checks
// the settings and caches the tables of edge functions as tensors, one pair per length and smoothness on each engine.
// The functions in the tables are computed in edge-functions.ts.

import { engine, keep, type Tensor1D, type Tensor2D, tensor1d, tidy } from "@tensorflow/tfjs-core";
import { ShapeError } from "../engine/core/errors.ts";
import { type GaudiMaskTables, gaudiMask as windows } from "../engine/ops/gblr/gaudi-mask.ts";
import { type EdgeOptions, edgeFunctions } from "./edge-functions.ts";

/** Settings of the masks of a model. */
export interface MaskSettings {
  /** smoothness of the mask; Infinity for no Gaussian, that is an exact 0/1 boxcar. Default Infinity */
  sigma?: number;
  /** in mode `eval`, masks of blocks one sample wide and entries of at most 1e-3 in size are 0. Default `train` */
  mode?: "train" | "eval";
}

/**
 * The masks of K blocks: row k is 1 for round(w n) samples of a circle of n, starting at sample round(l n), and 0
 * elsewhere; smoothed if σ is finite. Gradients pass through the rounding unchanged. In evaluation, windows of one
 * sample are empty.
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
    throw new ShapeError(`gaudiMask: sigma must be above 0 (Infinity for no Gaussian), got ${sigma}`);
  }
  const boxcar = sigma === Number.POSITIVE_INFINITY;
  return windows(widths, locations, maskTables({ length, sigma }), { boxcar, evaluate: mode === "eval" });
}

/** Maximum number of cached pairs of tables on each engine. */
const MOST_KEPT = 32;
const kept = new WeakMap<object, Map<string, GaudiMaskTables>>();

/**
 * The tables of all masks of this length and σ. They are cached between calls, since every step uses them again; those
 * that were not used for longest are evicted, as a product needs the tables of two lengths. The tensors belong to the
 * cache: do not dispose of them.
 */
export function maskTables(options: EdgeOptions): GaudiMaskTables {
  const { backend } = engine();
  const tables = kept.get(backend) ?? new Map<string, GaudiMaskTables>();
  kept.set(backend, tables);
  const key = `${options.length} ${options.sigma}`;
  const known = tables.get(key);
  if (known && !known.edges.isDisposed && !known.slopes.isDisposed) {
    // A map lists its keys in the order in which they were set.
    tables.delete(key);
    tables.set(key, known);
    return known;
  }
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

const toTensor = (values: Float64Array): Tensor1D => tensor1d(Float32Array.from(values));
