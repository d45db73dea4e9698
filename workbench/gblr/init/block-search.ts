// The budgeted block search on an engine: widths, locations and factors of rank-1 blocks fitted to a trained matrix, from
// its singular value decomposition on. Ends with whole samples, within the budget, no worse than truncated SVD would be.

import {
  div,
  matMul,
  mul,
  reshape,
  sqrt,
  square,
  squaredDifference,
  sum,
  type Tensor1D,
  type Tensor2D,
  tensor1d,
  tensor2d,
  tidy,
} from "@tensorflow/tfjs-core";
import { expectOperand, expectSetting } from "../../engine/ops/operands.ts";
import { gaudiMask } from "../mask.ts";
import type { GblrParameters } from "../matrix.ts";
import { isLive, samples } from "../widths.ts";
import { blockCount, countAllowed } from "./block-budget.ts";
import { locationsByRule, type Sides } from "./rules.ts";
import { SearchState } from "./search-state.ts";
import { svdFactors } from "./svd.ts";

export interface FindBlocksOptions {
  /** parameters as a share of the full factored form: budget · min(n_out, n_in) · (n_out + n_in), from 0 to 1 */
  budget: number;
  /** optimizer steps. Default 1000 */
  steps?: number;
  /** learning rate of the factors of a matrix scaled to entries of size 0.1, falling linearly to 1 %. Default 0.005 */
  factorRate?: number;
  /** learning rate of widths and locations, shares of n, falling alike. Default 20 / min(n_out, n_in), at most 20 / 768 */
  structureRate?: number;
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

export interface SearchProgress {
  /** steps done */
  step: number;
  steps: number;
  /** ‖W - M‖ / ‖M‖ */
  error: number;
  /** parameters now in use */
  count: number;
}

export type FindBlocksEvent = ({ type: "progress" } & SearchProgress) | ({ type: "found" } & FoundBlocks);

/** Published rate 20 / min(n_out, n_in), but below 768 samples what it is there: more would throw blocks about. */
const structureRate = (nOut: number, nIn: number): number => 20 / Math.max(768, Math.min(nOut, nIn));

/** The share of a learning rate that is left at a step: from 1 linearly to 0.01 at the end. */
const decayAt = (step: number, steps: number): number => 1 - (0.99 * step) / steps;

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
  const fit = await SearchState.start(weight, { ...options, allowed });
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
  const { budget, steps, every } = options;
  expectSetting("findBlocks", { budget }, "a share from 0 to 1", budget >= 0 && budget <= 1);
  expectSetting("findBlocks", { steps }, "an integer of at least 1", Number.isInteger(steps) && steps >= 1);
  expectSetting("findBlocks", { every }, "an integer of at least 1", Number.isInteger(every) && every >= 1);
}

interface FittedBlocks {
  /** K = min(n_out, n_in) blocks of rank 1, no bias */
  parameters: GblrParameters;
  /** ‖W - M‖ / ‖M‖ */
  error: number;
  /** Σ (width_in + width_out) in samples */
  count: number;
}

/**
 * The truncated singular value decomposition as blocks of full width, which the search has to beat. As many of the first
 * singular triples as the count allows, at full width; the others keep their factors at width 0.
 *
 * @param weight M, float32 (n_out, n_in)
 * @param allowed most parameters
 */
async function truncatedSvd(weight: Tensor2D, allowed: number): Promise<FittedBlocks> {
  const [nOut, nIn] = weight.shape;
  const blocks = Math.min(nOut, nIn);
  const rank = Math.min(blocks, Math.floor(allowed / (nOut + nIn)));
  const { lr_weight1, lr_weight2, singularValues } = await svdFactors(weight);
  const squares = Float64Array.from(await singularValues.data(), (value) => value * value);
  singularValues.dispose();
  const sum = (values: Float64Array) => values.reduce((total, value) => total + value, 0);
  const widths = tensor2d(
    Float32Array.from({ length: 2 * blocks }, (_, i) => (i % blocks < rank ? 1 : 0)),
    [2, blocks],
  );
  const locations = locationsByRule("linspace", { blocks });
  const left = sum(squares.subarray(rank));
  return {
    parameters: { lr_weight1, lr_weight2, widths, locations },
    error: left === 0 ? 0 : Math.sqrt(left / sum(squares)),
    count: rank * (nOut + nIn),
  };
}

/**
 * The end of a search: widths and locations set to the whole samples they stand for, blocks that evaluation would drop set
 * to nothing, and the error of just that matrix.
 * @param weight M, float32 (n_out, n_in)
 */
async function wholeBlocks(weight: Tensor2D, fit: SearchState): Promise<FittedBlocks> {
  const { sides } = fit;
  const blocks = fit.widths.length / 2;
  const { widths, locations } = inWholeSamples(fit, sides);
  const { tensors, error } = tidy(() => {
    const root = 1 / Math.sqrt(fit.scale);
    const [inputs, outputs] = fit.current().map((factor) => mul(factor, root) as Tensor2D) as [Tensor2D, Tensor2D];
    const mask = (from: number, length: number) => {
      const half = (values: Float32Array) => tensor1d(values.slice(from, from + blocks)) as Tensor1D;
      return gaudiMask(half(widths), half(locations), length);
    };
    const dense = matMul(
      mul(mask(blocks, sides.nOut), outputs) as Tensor2D,
      mul(mask(0, sides.nIn), inputs) as Tensor2D,
      true,
    );
    const distance = sum(sum(squaredDifference(dense, weight), 1));
    return {
      error: sqrt(div(distance, sum(sum(square(weight), 1)))),
      tensors: {
        lr_weight1: reshape(inputs, [blocks, 1, sides.nIn]),
        lr_weight2: reshape(outputs, [blocks, sides.nOut, 1]),
        widths: tensor2d(widths, [2, blocks]),
        locations: tensor2d(locations, [2, blocks]),
      },
    };
  });
  const [value = 0] = await error.data();
  error.dispose();
  return { parameters: tensors, error: value, count: blockCount(widths, sides) };
}

function inWholeSamples({ widths, locations }: SearchState, { nIn, nOut }: Sides) {
  const blocks = widths.length / 2;
  const whole = { widths: new Float32Array(2 * blocks), locations: new Float32Array(2 * blocks) };
  for (let k = 0; k < blocks; k++) {
    const a = samples(widths[k] as number, nIn);
    const b = samples(widths[blocks + k] as number, nOut);
    const live = isLive(a, b);
    whole.widths[k] = live ? a / nIn : 0;
    whole.widths[blocks + k] = live ? b / nOut : 0;
    whole.locations[k] = (samples(locations[k] as number, nIn) % nIn) / nIn;
    whole.locations[blocks + k] = (samples(locations[blocks + k] as number, nOut) % nOut) / nOut;
  }
  return whole;
}
