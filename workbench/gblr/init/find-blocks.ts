// The budgeted block search on an engine: widths, locations and factors of rank-1 blocks fitted to a trained matrix, from
// its singular value decomposition on. Ends with whole samples, within the budget, no worse than truncated SVD would be.

import type { Tensor2D } from "@tensorflow/tfjs-core";
import { expectOperand, expectSetting } from "../../engine/ops/operands.ts";
import type { GblrParameters } from "../parameters.ts";
import { blockCount, countAllowed } from "./block-budget.ts";
import { EngineFit } from "./engine-fit.ts";
import { decayAt, type FitProgress, structureRate } from "./fit-blocks.ts";
import { type FittedBlocks, truncatedSvd } from "./truncated-svd.ts";
import { wholeBlocks } from "./whole-blocks.ts";

export interface FindBlocksOptions {
  /** parameters as a share of the full factored form: budget · min(n_out, n_in) · (n_out + n_in), from 0 to 1 */
  budget: number;
  /** optimizer steps. Default 1000 */
  steps?: number;
  /** learning rate of the factors of a matrix scaled to entries of size 0.1, falling linearly to 1 %. Default 0.005 */
  factorRate?: number;
  /** learning rate of widths and locations, shares of n, falling alike. Default 20 / min(n_out, n_in), at most 20 / 768 */
  structureRate?: number;
  /** where blocks start, (2, K) each, row 0 the input side. Default: widths 1, locations uniform by `seed` */
  start?: { widths: ArrayLike<number>; locations: ArrayLike<number> };
  /** of the starting locations. Default 0 */
  seed?: number;
  /** steps from one event to the next: each waits for the engine. Default 50 */
  every?: number;
}

export interface FoundBlocks {
  /** K = min(n_out, n_in) blocks of rank 1, no bias; the caller disposes of them */
  parameters: GblrParameters;
  /** ‖W - M‖ / ‖M‖ */
  error: number;
  /** the same of the search alone, whatever it is `from` */
  searched: number;
  /** Σ (width_in + width_out) in samples, at most the budget */
  count: number;
  /** what the budget allows */
  allowed: number;
  /** `svd` where the search ended worse than the truncated singular value decomposition of the same budget */
  from: "search" | "svd";
}

export type FindBlocksEvent = ({ type: "progress" } & FitProgress) | ({ type: "found" } & FoundBlocks);

/**
 * @param weight M, float32 (n_out, n_in), finite
 * @returns events of progress and, last, what was found
 * @throws ShapeError when the matrix is not that or a setting is out of range
 */
export async function* findBlocks(weight: Tensor2D, options: FindBlocksOptions): AsyncGenerator<FindBlocksEvent, void> {
  const { budget, steps = 1000, factorRate = 0.005, every = 50 } = options;
  check(weight, { steps, every, ...options });
  const [nOut, nIn] = weight.shape;
  const sides = { nIn, nOut };
  const allowed = countAllowed(budget, sides);
  const structure = options.structureRate ?? structureRate(nOut, nIn);
  const fit = await EngineFit.start(weight, { ...options, allowed });
  if (fit === undefined) {
    yield { type: "found", ...(await truncatedSvd(weight, allowed)), searched: 0, allowed, from: "svd" };
    return;
  }
  let found: FittedBlocks;
  try {
    for (let step = 0; step < steps; step++) {
      const decay = decayAt(step, steps);
      const wanted = step % every === 0;
      const count = wanted ? blockCount(fit.widths, sides) : 0;
      const error = await fit.step(step + 1, { factors: factorRate * decay, structure: structure * decay }, wanted);
      if (wanted) {
        yield { type: "progress", step, steps, error, count };
      }
    }
    found = await wholeBlocks(weight, fit);
  } finally {
    fit.dispose();
  }
  const fallback = await truncatedSvd(weight, allowed);
  const from = found.error <= fallback.error ? "search" : "svd";
  const [kept, dropped] = from === "search" ? [found, fallback] : [fallback, found];
  dispose(dropped.parameters);
  yield { type: "found", ...kept, searched: found.error, allowed, from };
}

function dispose(parameters: GblrParameters): void {
  for (const tensor of Object.values(parameters)) {
    tensor.dispose();
  }
}

function check(weight: Tensor2D, options: FindBlocksOptions & { steps: number; every: number }): void {
  expectOperand("findBlocks", { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
  const { budget, steps, every, start } = options;
  const blocks = Math.min(...weight.shape);
  expectSetting("findBlocks", { budget }, "a share from 0 to 1", budget >= 0 && budget <= 1);
  expectSetting("findBlocks", { steps }, "an integer of at least 1", Number.isInteger(steps) && steps >= 1);
  expectSetting("findBlocks", { every }, "an integer of at least 1", Number.isInteger(every) && every >= 1);
  for (const [name, given] of Object.entries(start ?? {})) {
    const { length } = given as ArrayLike<number>;
    expectSetting("findBlocks", { [`length of start.${name}`]: length }, `2 · ${blocks}`, length === 2 * blocks);
  }
}
