// Fits the factors, widths and locations of rank-1 blocks to a matrix by AdamW within a budget, on the host in float64:
// the reference for the search on an engine, and the search itself where a matrix is small. Starts where it is told.

import type { Float64Matrix } from "../../engine/linalg/float64.ts";
import { expectSetting } from "../../engine/ops/operands.ts";
import { blockCount, holdCount, holdMean } from "./block-budget.ts";
import { BlockState, type Blocks } from "./block-state.ts";

export interface FitOptions {
  /** most parameters, Σ (width_in + width_out) in samples */
  budget: number;
  /**
   * `count`: the rounded count never exceeds the budget. `mean`: the mean of all widths does not, as in the reference,
   * and only from after the first step on. Default `count`
   */
  hold?: "count" | "mean";
  /** Default 1000 */
  steps?: number;
  /** learning rate of the factors, falling linearly to 1 %. Default 0.005 */
  factorRate?: number;
  /** learning rate of widths and locations, falling as that of the factors; shares of n. Default `structureRate()` */
  structureRate?: number;
  /** steps from one event to the next. Default 50 */
  every?: number;
}

export interface FitProgress {
  /** steps done */
  step: number;
  steps: number;
  /** ‖W - M‖ / ‖M‖ */
  error: number;
  /** parameters now in use */
  count: number;
}

/** Published rate 20 / min(n_out, n_in), but below 768 samples what it is there: more would throw blocks about. */
export const structureRate = (nOut: number, nIn: number): number => 20 / Math.max(768, Math.min(nOut, nIn));

/**
 * Changes `blocks` in place. The event of a step tells of the state before it; the first is of the start.
 *
 * @throws ShapeError when a setting is out of range
 */
export function* fitBlocks(matrix: Float64Matrix, blocks: Blocks, options: FitOptions): Generator<FitProgress, void> {
  const { budget, hold = "count", steps = 1000, factorRate = 0.005, every = 50 } = options;
  const { rows: nOut, columns: nIn } = matrix;
  const { structureRate: structure = structureRate(nOut, nIn) } = options;
  expectSetting("fitBlocks", { steps }, "an integer of at least 1", Number.isInteger(steps) && steps >= 1);
  expectSetting("fitBlocks", { every }, "an integer of at least 1", Number.isInteger(every) && every >= 1);
  const sides = { nIn, nOut };
  const state = new BlockState(matrix, blocks);
  const meanWidth = budget / (Math.min(nIn, nOut) * (nIn + nOut));
  const project = () =>
    hold === "count" ? holdCount(blocks.widths, budget, sides) : holdMean(blocks.widths, meanWidth);
  if (hold === "count") {
    project();
  }
  for (let step = 0; step < steps; step++) {
    const error = state.differentiate();
    if (step % every === 0) {
      yield { step, steps, error, count: blockCount(blocks.widths, sides) };
    }
    const decay = decayAt(step, steps);
    state.update(step + 1, { factors: factorRate * decay, structure: structure * decay });
    project();
    for (let i = 0; i < blocks.locations.length; i++) {
      const location = blocks.locations[i] as number;
      blocks.locations[i] = location - Math.floor(location);
    }
  }
  yield { step: steps, steps, error: state.differentiate(), count: blockCount(blocks.widths, sides) };
}

/** The share of a learning rate that is left at a step: from 1 linearly to 0.01 at the end. */
export const decayAt = (step: number, steps: number): number => 1 - (0.99 * step) / steps;
