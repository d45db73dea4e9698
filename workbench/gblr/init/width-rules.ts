// Starting widths by name, as published recipes write them: `lr0.25`, `splr`, `zero`, `const0.3`. Looks at no matrix.

import { type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import { EngineError } from "../../engine/core/errors.ts";

/** What a rule needs to know of the matrix. */
export interface BlockGrid {
  /** K, blocks */
  blocks: number;
  /** samples on the input side */
  nIn: number;
  /** samples on the output side */
  nOut: number;
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
