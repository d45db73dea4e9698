// What a shrink rule is: the proximal step that follows the optimizer's and takes something off every width, so that
// structure is learned. Holds the interface and what all rules share; each rule has a file of its own.

import type { Variable } from "@tensorflow/tfjs-core";
import { expectSetting } from "../../engine/ops/operands.ts";
import type { TrainingTime } from "../sigma-schedule.ts";

/** The structure of one GBLR matrix, changed in place. */
export interface ShrinkLayer {
  /** (2, K), shares of n */
  widths: Variable;
  /** (2, K), shares of n, cyclic */
  locations: Variable;
}

/** The moment of training at which a rule is applied: after the optimizer's step for this batch. */
export interface ShrinkStep extends TrainingTime {
  /** of the widths' parameter group, now */
  learningRate: number;
}

export interface ShrinkReport {
  /** whether widths and locations were touched */
  applied: boolean;
  /** the structure is final: the rule will not act again, and the optimizer should leave it alone too */
  frozen: boolean;
  /** multiply-adds now as a share of the dense layers', from rules that count them */
  relativeCost?: number;
}

/** What a rule remembers from step to step; plain JSON, for checkpoints. */
export type ShrinkState = Readonly<Record<string, number | boolean>>;

/**
 * Widths end in [0, 1], or in the rule's own bounds, and locations in [0, 1). A rule looks at all layers together, so
 * give it all of them each time.
 */
export interface ShrinkRule<Layer extends ShrinkLayer = ShrinkLayer> {
  /** as recipes and reports name it */
  readonly name: string;
  /** Queues the step; waits for the device only where the rule says so. */
  apply(layers: readonly Layer[], step: ShrinkStep): Promise<ShrinkReport>;
  state(): ShrinkState;
  /** continues from what `state()` gave */
  restore(state: ShrinkState): void;
}

export interface RateOptions {
  /** batches from one application to the next, counted within the epoch. Default 1 */
  rate?: number;
}

/** Whether a rule with this rate acts after this batch: after the last of every `rate`. */
export const isDue = ({ batch }: TrainingTime, rate: number): boolean => (batch + 1) % rate === 0;

/** @throws ShapeError unless `rate` is a whole number of at least 1 */
export function expectRate(rule: string, rate: number): void {
  expectSetting(rule, { rate }, "an integer of at least 1", Number.isInteger(rate) && rate >= 1);
}

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

/** @throws ShapeError unless the setting is from 0 up to, but not, 1 */
export function expectTarget(rule: string, settings: Record<string, number>): void {
  const [value] = Object.values(settings);
  expectSetting(rule, settings, "at least 0 and below 1", value !== undefined && value >= 0 && value < 1);
}

/** `state` and `restore` of a rule that remembers nothing. */
export const STATELESS = {
  state: (): ShrinkState => ({}),
  restore: (): void => {},
};

export const APPLIED: ShrinkReport = { applied: true, frozen: false };
export const NOT_DUE: ShrinkReport = { applied: false, frozen: false };
