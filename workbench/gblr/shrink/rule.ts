// What a shrink rule is: the proximal step that follows the optimizer's and takes something off every width, so that
// structure is learned (arXiv 2310.18882, Algorithm 1). A rule is a function over flat arrays: it reads no device and
// changes none of its operands. Who reads the arrays, writes the result and keeps the rule's state is train/structure.ts.

import { expectSetting } from "../../engine/ops/operands.ts";
import type { TrainingTime } from "../schedules.ts";
import type { BlockSizes } from "../widths.ts";

/** Widths and locations of all GBLR layers of a model, in the order of `sizes`. */
export interface BlockArrays {
  sizes: BlockSizes;
  /** shares of n; after an optimizer's step not yet within [0, 1] */
  widths: Float32Array;
  /** shares of n, cyclic; not yet within [0, 1) */
  locations: Float32Array;
  /** μ, the mean width, a float32 number as the engine computes it; NaN unless the rule uses it */
  mean: number;
}

/** The moment of training at which a rule is applied: after the optimizer's step for this batch. */
export interface ShrinkStep extends TrainingTime {
  /** of the widths' parameter group, now */
  learningRate: number;
}

/** What a rule remembers from step to step; plain JSON, for checkpoints. */
export type ShrinkState = Readonly<Record<string, number | boolean>>;

export interface Shrunk {
  /** in [0, 1]; the operand itself where the rule is not applied */
  widths: Float32Array;
  /** in [0, 1); the operand itself where the rule is not applied */
  locations: Float32Array;
  /** whether widths and locations were touched */
  applied: boolean;
  /** the structure is final: the rule will not act again, and the optimizer should leave it alone too */
  frozen: boolean;
  /** multiply-adds now as a share of the dense layers', from rules that count them */
  relativeCost?: number;
  /** what the next application is to be given */
  state: ShrinkState;
}

export interface ShrinkRule {
  /** as recipes and reports name it */
  readonly name: string;
  /** whether it looks at μ, which costs the engine a few reductions a layer */
  readonly usesMean: boolean;
  /**
   * @param state what the last application gave, `{}` at first
   * @returns new arrays; the same operands give the same result, bit by bit
   */
  apply(blocks: BlockArrays, step: ShrinkStep, state: ShrinkState): Shrunk;
}

/** l mod 1 into [0, 1) in float32: an l so little below 0 that the sum rounds to 1 becomes 0. */
export const wrapped = (locations: Float32Array): Float32Array =>
  locations.map((location) => {
    const rest = Math.fround(location - Math.floor(location));
    return rest < 1 ? rest : 0;
  });

/** @throws ShapeError unless the setting is a finite number of at least 0 */
export function expectNonNegative(rule: string, settings: Record<string, number>): void {
  const [value] = Object.values(settings);
  expectSetting(
    rule,
    settings,
    "a finite number of at least 0",
    value !== undefined && value >= 0 && Number.isFinite(value),
  );
}
