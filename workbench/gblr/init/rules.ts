// Starting widths and locations by name, as published recipes write them: `lr0.25`, `splr`, `zero`, `const0.3`;
// `linspace`, `uniform`, `const0.25`. Looks at no matrix.

import { type Tensor, type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import { EngineError } from "../../engine/core/errors.ts";
import { seededUniform } from "../../engine/core/random.ts";
import { isLive, samples } from "../widths.ts";

/** Samples on either side of a matrix. */
export interface Sides {
  nIn: number;
  nOut: number;
}

/** What a rule needs to know of the matrix. */
export interface BlockGrid extends Sides {
  /** K, blocks */
  blocks: number;
  /** r, rank of each block. Default 1 */
  rank?: number;
}

const RULE = /^(lr|splr|zero|const)(\d*\.?\d*)$/;

/**
 * - `lrR`: the first R · K blocks cover everything, every other one a single sample on one side in turn: dead, but with
 *   a gradient. Without a number R is the share at which the cost is the dense matrix's
 * - `splrR`: the first R · K / 2 blocks cover everything, the others share the rest, 0.5 R / (1 - 0.5 R) each
 * - `zero`: a single sample on one side in turn
 * - `constX`: X everywhere
 *
 * @returns float32 (2, K), row 0 the input side
 * @throws EngineError when the rule is not one of these or its number is not from 0 to 1
 */
export function widthsByRule(rule: string, grid: BlockGrid): Tensor2D {
  return tensor2d(widthValues(rule, grid), [2, grid.blocks], "float32");
}

/** The same as numbers, row by row. */
export function widthValues(rule: string, grid: BlockGrid): Float32Array {
  const { blocks } = grid;
  const { name, share } = parse(rule, grid);
  if (name === "const") {
    return rows(blocks, () => [share, share]);
  }
  if (name === "splr") {
    const full = Math.floor(blocks * share * 0.5);
    const rest = (0.5 * share) / (1 - 0.5 * share);
    return rows(blocks, (k) => (k < full ? [1, 1] : [rest, rest]));
  }
  const input: Pair = [1 / grid.nIn, 0];
  const output: Pair = [0, 1 / grid.nOut];
  if (name === "zero") {
    return rows(blocks, (k) => (k % 2 === 0 ? output : input));
  }
  const full = Math.floor(blocks * share);
  return rows(blocks, (k) => (k < full ? [1, 1] : (k - full) % 2 === 0 ? input : output));
}

type Pair = readonly [input: number, output: number];

function rows(blocks: number, pair: (k: number) => Pair): Float32Array {
  const pairs = Array.from({ length: blocks }, (_, k) => pair(k));
  return Float32Array.from([...pairs.map(([input]) => input), ...pairs.map(([, output]) => output)]);
}

function parse(rule: string, { blocks, nIn, nOut, rank = 1 }: BlockGrid): { name: string; share: number } {
  const [, name = "", digits = ""] = RULE.exec(rule) ?? [];
  const dense = (nIn * nOut) / (blocks * rank * (nIn + nOut));
  const share = digits === "" ? Math.min(1, dense) : Number(digits);
  const numbered = name === "const" ? digits !== "" : name !== "zero" || digits === "";
  if (name === "" || !numbered || !(share >= 0 && share <= 1)) {
    throw new EngineError(
      `no width rule "${rule}": there is lr, lrR, splr, splrR, zero and constX`,
      "give one of them, with R or X from 0 to 1",
    );
  }
  return { name, share };
}

/**
 * Gives blocks that are not live the widths that the rules above give such blocks: a single sample on one side in turn.
 * They stay dead, yet have a gradient, where widths of 0 on both sides have none.
 * @param widths (2, K), row 0 the input side; disposed of
 * @returns the same for live blocks
 */
export async function withGradients(widths: Tensor, { nIn, nOut }: Sides): Promise<Tensor> {
  const values = Float32Array.from(await widths.data());
  widths.dispose();
  const blocks = values.length / 2;
  let dead = 0;
  for (let k = 0; k < blocks; k++) {
    if (isLive(samples(values[k] as number, nIn), samples(values[blocks + k] as number, nOut))) continue;
    values[k] = dead % 2 === 0 ? 1 / nIn : 0;
    values[blocks + k] = dead % 2 === 0 ? 0 : 1 / nOut;
    dead++;
  }
  return tensor2d(values, [2, blocks]);
}

export interface LocationOptions {
  /** K, blocks */
  blocks: number;
  /** of `uniform`: the same seed gives the same locations. Default 0 */
  seed?: number;
}

/**
 * - `linspace`: k / K on both sides
 * - `uniform`: drawn from [0, 1), each side by itself
 * - `constX`: X everywhere, from 0 to below 1
 *
 * @returns float32 (2, K), row 0 the input side
 * @throws EngineError when the rule is none of these
 */
export function locationsByRule(rule: string, { blocks, seed = 0 }: LocationOptions): Tensor2D {
  return tensor2d(locationValues(rule, blocks, seed), [2, blocks], "float32");
}

function locationValues(rule: string, blocks: number, seed: number): Float32Array {
  if (rule === "linspace") {
    return Float32Array.from({ length: 2 * blocks }, (_, i) => (i % blocks) / blocks);
  }
  if (rule === "uniform") {
    const uniform = seededUniform(seed);
    return Float32Array.from({ length: 2 * blocks }, uniform);
  }
  const constant = /^const(\d+\.?\d*|\.\d+)$/.exec(rule);
  const location = Number(constant?.[1] ?? Number.NaN);
  if (!(location >= 0 && location < 1)) {
    throw new EngineError(
      `no location rule "${rule}": there is linspace, uniform and constX`,
      "give one of them, with X from 0 to below 1",
    );
  }
  return new Float32Array(2 * blocks).fill(location);
}
