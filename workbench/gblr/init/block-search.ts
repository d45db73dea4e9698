// The budgeted block search: fits widths, locations and factors of rank-1 blocks to a trained matrix, starting from its
// singular value decomposition. The result has whole samples, is within the budget, and is at least as close to the
// matrix as the truncated SVD.

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
import type { Triples } from "./decompositions.ts";
import { locationsByRule, type Sides } from "./rules.ts";
import { SearchState } from "./search-state.ts";
import { svdFactors } from "./svd.ts";

/** Options of `findBlocks`. */
export interface FindBlocksOptions {
  /** share of the full factored form's parameters, min(n_out, n_in) · (n_out + n_in); from 0 to 1 */
  budget: number;
  /** optimizer steps. Default 1000 */
  steps?: number;
  /** learning rate of the factors, for a matrix scaled to entries of size 0.1; decays linearly to 1 %. Default 0.005 */
  factorRate?: number;
  /** learning rate of widths and locations, with the same decay. Default 20 / min(n_out, n_in), at most 20 / 768 */
  structureRate?: number;
  /** random seed of the initial locations. Default 0 */
  seed?: number;
  /** steps between progress events, each of which waits for the engine. Default 50 */
  every?: number;
  /** all singular triples of the matrix, if they are known, so that it is not decomposed again */
  triples?: Triples | undefined;
}

/** The result of a block search. */
export interface FoundBlocks {
  /** K = min(n_out, n_in) blocks of rank 1, no bias; the caller disposes of them */
  parameters: GblrParameters;
  /** ‖W - M‖ / ‖M‖ */
  error: number;
  /** the error of the search result, also when the SVD is returned instead */
  searched: number;
  /** Σ (width_in + width_out) in samples, at most `allowed` */
  count: number;
  /** parameters allowed by the budget */
  allowed: number;
  /** `svd` if the truncated singular value decomposition of the same budget has a smaller error than the search */
  from: "search" | "svd";
}

/** The progress of a block search. */
export interface SearchProgress {
  /** steps done */
  step: number;
  steps: number;
  /** ‖W - M‖ / ‖M‖ */
  error: number;
  /** parameters in use */
  count: number;
}

/** Progress of a search; the last event is its result. */
export type FindBlocksEvent = ({ type: "progress" } & SearchProgress) | ({ type: "found" } & FoundBlocks);

/** The published rate 20 / min(n_out, n_in), limited to that of 768 samples: larger rates make blocks jump. */
const structureRate = (nOut: number, nIn: number): number => 20 / Math.max(768, Math.min(nOut, nIn));

/** The factor of the learning rates at a step: falls linearly from 1 to 0.01. */
const decayAt = (step: number, steps: number): number => 1 - (0.99 * step) / steps;

/**
 * Fits blocks to a matrix within a budget.
 * @param weight M, float32 (n_out, n_in), finite
 * @returns progress events; the last event is the result
 * @throws ShapeError when the matrix has another type or shape, or a setting is out of range
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
    yield {
      type: "found",
      ...(await truncatedSvd(weight, allowed, options.triples)),
      searched: 0,
      allowed,
      from: "svd",
    };
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
  const fallback = await truncatedSvd(weight, allowed, options.triples);
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

/** Blocks with their error and number of parameters. */
interface FittedBlocks {
  /** K = min(n_out, n_in) blocks of rank 1, no bias */
  parameters: GblrParameters;
  /** ‖W - M‖ / ‖M‖ */
  error: number;
  /** Σ (width_in + width_out) in samples */
  count: number;
}

/**
 * The truncated singular value decomposition as blocks, with which the search is compared. As many of the first
 * singular triples as are affordable have full width; the others keep their factors at width 0.
 *
 * @param weight M, float32 (n_out, n_in)
 * @param allowed maximum number of parameters
 */
async function truncatedSvd(weight: Tensor2D, allowed: number, triples?: Triples): Promise<FittedBlocks> {
  const [nOut, nIn] = weight.shape;
  const blocks = Math.min(nOut, nIn);
  const rank = Math.min(blocks, Math.floor(allowed / (nOut + nIn)));
  const { lr_weight1, lr_weight2, singularValues } = await svdFactors(weight, { triples });
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
 * The result of a search: widths and locations rounded to whole samples, widths of dead blocks set to 0, and the error
 * of the matrix that they define.
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
