// The interface of shrink rules. A shrink rule is the proximal step after each optimizer step that reduces the widths,
// by which the structure is learned (arXiv 2310.18882, Algorithm 1). It is a function over flat arrays on the host and
// does not change its operands. train/structure.ts reads the arrays, writes the result and keeps the rule's state.

import { expectSetting } from "../../engine/ops/operands.ts";
import type { TrainingTime } from "../schedules.ts";
import type { BlockSizes } from "../widths.ts";

/** Widths and locations of all GBLR layers of a model, in the order of `sizes`. */
export interface BlockArrays {
  sizes: BlockSizes;
  /** shares of n; after an optimizer step possibly outside [0, 1] */
  widths: Float32Array;
  /** shares of n, cyclic; possibly outside [0, 1) */
  locations: Float32Array;
  /** μ, the mean width in float32, as computed by the engine; NaN unless the rule uses it */
  mean: number;
}

/** When a rule is applied: after the optimizer's step for this batch. */
export interface ShrinkStep extends TrainingTime {
  /** current learning rate of widths and locations */
  learningRate: number;
}

/** The state that a rule keeps between steps, as plain JSON for checkpoints. */
export type ShrinkState = Readonly<Record<string, number | boolean>>;

/** The result of one application of a rule. */
export interface Shrunk {
  /** in [0, 1]; the operand itself if the rule was not applied */
  widths: Float32Array;
  /** in [0, 1); the operand itself if the rule was not applied */
  locations: Float32Array;
  /** whether the rule was applied */
  applied: boolean;
  /** whether the structure is final: neither the rule nor the optimizer changes it any more */
  frozen: boolean;
  /** cost relative to the dense layers, from rules that compute it */
  relativeCost?: number;
  /** the state for the next application */
  state: ShrinkState;
}

/** A shrink rule. */
export interface ShrinkRule {
  /** name in recipes and reports */
  readonly name: string;
  /** whether it uses μ, for which the engine needs a few reductions per layer */
  readonly usesMean: boolean;
  /**
   * Applies the rule to the widths and locations of all layers.
   * @param state the state after the last application, `{}` at first
   * @returns new arrays; equal operands give bit-identical results
   */
  apply(blocks: BlockArrays, step: ShrinkStep, state: ShrinkState): Shrunk;
}

/** l mod 1 in [0, 1), in float32. A tiny negative l, whose remainder rounds to 1, becomes 0. */
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
