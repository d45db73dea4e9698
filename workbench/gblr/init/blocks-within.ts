// Initial widths that use the whole budget: blocks of full width in the order of their singular values, one narrower
// block for the remainder, and dead blocks, which still have a gradient. The factors come from a given decomposition;
// there is no search.

import { matMul, mul, reshape, slice, sub, sum, type Tensor2D, tensor2d, tensor3d, tidy } from "@tensorflow/tfjs-core";
import { diagonalOf } from "../../engine/linalg/index.ts";
import type { GblrParameters } from "../matrix.ts";
import { locationsByRule, type Sides, widthValues } from "./rules.ts";
import type { SvdFactors } from "./svd.ts";

/** The numbers of blocks that a budget allows, and their cost. */
export interface BlockCounts {
  /** blocks of full width */
  full: number;
  /** multiply-adds of the narrower block, the sum of its two widths in samples; 0 if there is none */
  rest: number;
  /** multiply-adds of all blocks; at most 3 below the allowed number, unless the budget covers all blocks */
  cost: number;
}

/** The smallest cost of a live block, which is at least two samples wide on both sides. */
const LEAST_BLOCK = 4;

/**
 * How many blocks are affordable.
 * @param allowed multiply-adds per row
 */
export function blocksWithin(allowed: number, { nIn, nOut }: Sides): BlockCounts {
  const most = Math.min(nIn, nOut);
  const full = Math.min(most, Math.floor(allowed / (nIn + nOut)));
  const left = allowed - full * (nIn + nOut);
  const rest = full < most && most >= 2 && left >= LEAST_BLOCK ? left : 0;
  return { full, rest, cost: full * (nIn + nOut) + rest };
}

/** Options of `spendBudget`. */
export interface SpendOptions {
  /** multiply-adds per row */
  allowed: number;
  /** rule for the locations of all blocks except the narrower one, see rules.ts. Default `linspace` */
  locations?: string;
  /** random seed of `uniform` locations. Default 0 */
  seed?: number;
  /** covariance of the layer's inputs, (n_in, n_in); the output error is then minimized. Default the identity */
  covariance?: Tensor2D;
}

/**
 * Initial parameters that use the whole budget. The narrower block covers the samples where the next singular triple
 * has most of its energy, and is scaled to reduce the error as far as it can. So the error is at most that of the
 * blocks of full width alone.
 *
 * @param weight M, float32 (n_out, n_in)
 * @param factors of min(n_out, n_in) blocks of rank 1; this function disposes of them
 */
export async function spendBudget(
  weight: Tensor2D,
  { lr_weight1, lr_weight2, singularValues }: SvdFactors,
  { allowed, locations: rule = "linspace", seed = 0, covariance }: SpendOptions,
): Promise<GblrParameters> {
  singularValues.dispose();
  const [nOut, nIn] = weight.shape;
  const blocks = lr_weight1.shape[0];
  const { full, rest } = blocksWithin(allowed, { nIn, nOut });
  // Half a block is added so that rounding the share down gives exactly `full` blocks.
  const widths = widthValues(`lr${Math.min(1, (full + 0.5) / blocks)}`, { blocks, nIn, nOut });
  const start = locationsByRule(rule, { blocks, seed });
  const locations = Float32Array.from(await start.data());
  start.dispose();
  const made = () => ({ widths: tensor2d(widths, [2, blocks]), locations: tensor2d(locations, [2, blocks]) });
  if (rest === 0) return { lr_weight1, lr_weight2, ...made() };

  const rows = tidy(() => ({
    input: reshape(slice(lr_weight1, full, 1), [nIn]),
    output: reshape(slice(lr_weight2, full, 1), [nOut]),
  }));
  const [v, u] = [await rows.input.data(), await rows.output.data()];
  const variances = covariance && diagonalOf(covariance);
  const spans = placeRest(rest, { input: energies(v, await variances?.data()), output: energies(u) });
  variances?.dispose();
  for (const tensor of Object.values(rows)) tensor.dispose();
  widths[full] = spans.input.length / nIn;
  widths[blocks + full] = spans.output.length / nOut;
  locations[full] = spans.input.start / nIn;
  locations[blocks + full] = spans.output.start / nOut;

  const under = { v: masked(v, spans.input), u: masked(u, spans.output) };
  const share = await bestShare(weight, { lr_weight1, lr_weight2, full, ...under, ...(covariance && { covariance }) });
  const scaled = tidy(() => {
    const size = Math.sqrt(Math.abs(share));
    return {
      lr_weight1: mul(lr_weight1, onlyBlock(blocks, full, size)),
      lr_weight2: mul(lr_weight2, onlyBlock(blocks, full, Math.sign(share) * size)),
    };
  });
  lr_weight1.dispose();
  lr_weight2.dispose();
  return { ...scaled, ...made() };
}

/** A range of samples on a circle. */
interface Window {
  start: number;
  length: number;
}

/** Maximum number of splits that are tried. The energy under a window changes little from one sample to the next. */
const MOST_SPLITS = 128;

/** The two windows, with `rest` samples in total, that have the largest product of energies. */
function placeRest(rest: number, energy: { input: Float64Array; output: Float64Array }) {
  const first = Math.max(2, rest - energy.output.length);
  const last = Math.min(energy.input.length, rest - 2);
  const stride = Math.max(1, Math.ceil((last - first) / MOST_SPLITS));
  let best = { input: { start: 0, length: first }, output: { start: 0, length: rest - first }, energy: -1 };
  for (let length = first; length <= last; length = length < last ? Math.min(last, length + stride) : last + 1) {
    const input = bestWindow(energy.input, length);
    const output = bestWindow(energy.output, rest - length);
    const together = input.energy * output.energy;
    if (together > best.energy) best = { input, output, energy: together };
  }
  return best;
}

/** The window of this length on the circle that has the most energy. */
function bestWindow(energy: Float64Array, length: number): Window & { energy: number } {
  const n = energy.length;
  let held = energy.subarray(0, length).reduce((total, each) => total + each, 0);
  let best = { start: 0, length, energy: held };
  for (let start = 1; start < n && length < n; start++) {
    held += (energy[(start + length - 1) % n] as number) - (energy[start - 1] as number);
    if (held > best.energy) best = { start, length, energy: held };
  }
  return best;
}

const energies = (row: ArrayLike<number>, weights?: ArrayLike<number>): Float64Array =>
  Float64Array.from(row, (value, i) => value ** 2 * (weights?.[i] ?? 1));

function masked(row: ArrayLike<number>, { start, length }: Window): Float32Array {
  const n = row.length;
  return Float32Array.from(row, (value, i) => ((i - start + n) % n < length ? value : 0));
}

/** The factors of all blocks and those of the narrower block. */
interface RestBlock extends Pick<SvdFactors, "lr_weight1" | "lr_weight2"> {
  full: number;
  /** the block's factors under their masks */
  v: Float32Array;
  u: Float32Array;
  covariance?: Tensor2D;
}

/** The c that minimizes ‖(M − Σ u_k v_kᵀ − c u vᵀ) Σ^½‖, with the sum over the blocks of full width. */
async function bestShare(weight: Tensor2D, { lr_weight1, lr_weight2, full, v, u, covariance }: RestBlock) {
  const [nOut, nIn] = weight.shape;
  const quotient = tidy(() => {
    const [column, row] = [tensor2d(v, [nIn, 1]), tensor2d(u, [nOut, 1])];
    const seen = covariance === undefined ? column : (matMul(covariance, column) as Tensor2D);
    const kept = [slice(lr_weight1, 0, full), slice(lr_weight2, 0, full)] as const;
    const through = matMul(reshape(kept[0], [full, nIn]) as Tensor2D, seen);
    const left = sub(matMul(weight, seen), matMul(reshape(kept[1], [full, nOut]) as Tensor2D, through, true));
    return { gain: sum(mul(row, left)), size: mul(sum(mul(row, row)), sum(mul(column, seen))) };
  });
  const [[gain = 0], [size = 0]] = [await quotient.gain.data(), await quotient.size.data()];
  for (const tensor of Object.values(quotient)) tensor.dispose();
  return size > 0 && Number.isFinite(gain / size) ? gain / size : 1;
}

/** (K, 1, 1): `scale` for one block, 1 for the others. */
function onlyBlock(blocks: number, block: number, scale: number) {
  const values = new Float32Array(blocks).fill(1);
  values[block] = scale;
  return tensor3d(values, [blocks, 1, 1]);
}
