// Rules for initial widths and locations, by their names in published recipes: `lr0.25`, `splr`, `zero`, `const0.3` for
// widths, `linspace`, `uniform`, `const0.25` for locations. Rules depend only on the sizes of the matrix.

import { type Tensor, type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import { EngineError } from "../../engine/core/errors.ts";
import { seededUniform } from "../../engine/core/random.ts";
import { isLive, samples } from "../widths.ts";

/** The number of samples on each side of a matrix. */
export interface Sides {
  nIn: number;
  nOut: number;
}

/** The sizes that a rule depends on. */
export interface BlockGrid extends Sides {
  /** K, blocks */
  blocks: number;
  /** r, rank of each block. Default 1 */
  rank?: number;
}

const RULE = /^(lr|splr|zero|const)(\d*\.?\d*)$/;

/**
 * Initial widths by a rule:
 * - `lrR`: the first R · K blocks have full width. The others are one sample wide on one side, input and output in
 *   turn: they are dead but have a gradient. Without a number, R is the share at which the cost equals the dense
 *   matrix's
 * - `splrR`: the first R · K / 2 blocks have full width, all others the width 0.5 R / (1 - 0.5 R)
 * - `zero`: all blocks are one sample wide on one side, output and input in turn
 * - `constX`: all widths are X
 *
 * @returns float32 (2, K), row 0 the input side
 * @throws EngineError when the rule is not one of these or its number is not from 0 to 1
 */
export function widthsByRule(rule: string, grid: BlockGrid): Tensor2D {
  return tensor2d(widthValues(rule, grid), [2, grid.blocks], "float32");
}

/** The same widths as numbers, row by row. */
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
      `there is no width rule "${rule}"; available: lr, lrR, splr, splrR, zero, constX`,
      "use one of these, with R or X from 0 to 1",
    );
  }
  return { name, share };
}

/**
 * Makes dead blocks one sample wide on one side, input and output in turn, as the rules above do. They stay dead but
 * have a gradient, which blocks of width 0 on both sides do not have.
 * @param widths (2, K), row 0 the input side; this function disposes of them
 * @returns the new widths; those of live blocks are unchanged
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

/** Options of `locationsByRule`. */
export interface LocationOptions {
  /** K, blocks */
  blocks: number;
  /** random seed of `uniform`. Default 0 */
  seed?: number;
}

/**
 * Initial locations by a rule:
 * - `linspace`: k / K on both sides
 * - `uniform`: drawn from [0, 1), independently for each side
 * - `constX`: all locations are X, with 0 ≤ X < 1
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
      `there is no location rule "${rule}"; available: linspace, uniform, constX`,
      "use one of these, with 0 ≤ X < 1",
    );
  }
  return new Float32Array(2 * blocks).fill(location);
}
