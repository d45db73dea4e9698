// Measures the speed of an open engine: the rate of a float32 matrix product and the bandwidth of an elementwise sum.
// Each number is the median of several timed batches after a warm-up; the device's queue is drained before and after
// each batch. A measurement takes seconds. `gblr doctor` uses it; bench/engine.ts compares the engines with other
// libraries.

import * as tf from "@tensorflow/tfjs-core";
import type { Engine } from "./types.ts";

interface TimingOptions {
  /** approximate limit of the time of all timed calls together, in seconds. Default 1 */
  budget?: number;
}

/** Options of `measureMatMul` and `measureBandwidth`. */
export interface MeasureOptions extends TimingOptions {
  /** rows and columns of the matrices, or values in the array; should be larger than the caches */
  size?: number;
}

/** The measured rate of a matrix product. */
export interface MatMulRate {
  /** rows and columns of the square matrices: the size asked for, halved until one product fits into the budget */
  size: number;
  /** 10⁹ multiplications and additions per second, of which a product has 2·size³ */
  gflops: number;
}

/** The measured bandwidth of an elementwise sum. */
export interface Bandwidth {
  /** float32 values in each of the three arrays */
  size: number;
  /** 10⁹ bytes per second, counting two arrays that are read and one that is written */
  gigabytesPerSecond: number;
}

/**
 * Length of a timed batch in seconds, so long that the clock's resolution and one drain of the queue are negligible.
 */
const BATCH_SECONDS = 0.02;
/** Maximum number of calls in a batch. A longer queue would hold results that are disposed of but not yet computed. */
const MOST_CALLS = 200;
const FEWEST_BATCHES = 3;
const MOST_BATCHES = 9;
/** Size of the product that predicts how long the large one takes. */
const TRIAL_SIZE = 256;

/**
 * The middle value, or the mean of the two middle values if their number is even.
 * @throws RangeError when there is no value
 */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle];
  if (upper === undefined) throw new RangeError("median: needs at least one value, got none");
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

/** The time in seconds of `calls` calls of `run`, until the engine has computed them. The results are disposed of. */
async function secondsFor(engine: Engine, calls: number, run: () => tf.Tensor): Promise<number> {
  await engine.synchronize();
  const start = performance.now();
  for (let call = 0; call < calls; call++) tf.tidy(run).dispose();
  await engine.synchronize();
  return (performance.now() - start) / 1000;
}

/**
 * The time in seconds of one call, as the median of 3 to 9 batches. If the first call alone exceeds the budget, its
 * time is returned, including the warm-up.
 */
export async function secondsPerCall(
  engine: Engine,
  run: () => tf.Tensor,
  { budget = 1 }: TimingOptions = {},
): Promise<number> {
  const first = await secondsFor(engine, 1, run);
  if (first > budget) return first;
  const warm = await secondsFor(engine, 1, run);
  const calls = Math.min(MOST_CALLS, Math.max(1, Math.ceil(BATCH_SECONDS / warm)));
  const affordable = Math.floor(budget / (calls * warm));
  const batches = Math.min(MOST_BATCHES, Math.max(FEWEST_BATCHES, affordable));
  const times: number[] = [];
  for (let batch = 0; batch < batches; batch++) times.push((await secondsFor(engine, calls, run)) / calls);
  return median(times);
}

/** Rate of a (size, size) · (size, size) product. Its operands are random, because products of zeros can be faster. */
export async function measureMatMul(
  engine: Engine,
  { size = 1024, budget = 1 }: MeasureOptions = {},
): Promise<MatMulRate> {
  const trial = await withOperands(Math.min(TRIAL_SIZE, size), (run) => secondsPerCall(engine, run, { budget: 0.1 }));
  let affordable = size;
  while (affordable > TRIAL_SIZE && trial * (affordable / TRIAL_SIZE) ** 3 > budget) affordable /= 2;
  const measured = Math.floor(affordable);
  const seconds = await withOperands(measured, (run) => secondsPerCall(engine, run, { budget }));
  return { size: measured, gflops: (2 * measured ** 3) / seconds / 1e9 };
}

/** Bandwidth of `a + b` on arrays of `size` values. */
export async function measureBandwidth(
  engine: Engine,
  { size = 1 << 24, budget = 1 }: MeasureOptions = {},
): Promise<Bandwidth> {
  const a = tf.fill([size], 1.5, "float32");
  const b = tf.fill([size], 2.5, "float32");
  try {
    const seconds = await secondsPerCall(engine, () => tf.add(a, b), { budget });
    const bytes = 3 * size * Float32Array.BYTES_PER_ELEMENT;
    return { size, gigabytesPerSecond: bytes / seconds / 1e9 };
  } finally {
    tf.dispose([a, b]);
  }
}

async function withOperands<T>(size: number, measure: (run: () => tf.Tensor) => Promise<T>): Promise<T> {
  const a = tf.randomUniform([size, size], -1, 1);
  const b = tf.randomUniform([size, size], -1, 1);
  try {
    return await measure(() => tf.matMul(a, b));
  } finally {
    tf.dispose([a, b]);
  }
}
