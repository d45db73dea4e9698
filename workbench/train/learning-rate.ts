// The learning rate at a given step: warm-up, then constant, linear or cosine decay. Computes the number only.

import { expectSetting } from "../engine/ops/operands.ts";

/** A time of training, in one of two units. */
export type Span = { epochs: number } | { steps: number };

export interface LearningRateSchedule {
  /** how it falls after the warm-up */
  decay: "constant" | "linear" | "cosine";
  /** linear rise from 0. Default none */
  warmup?: Span;
  /** from the start of training to where the decay has reached the minimum. Default the end of training */
  end?: Span;
  /** learning rate at the end of the decay, of every parameter group. Default 0 */
  minimum?: number;
}

export interface RateTime {
  /** optimizer steps done before this one */
  step: number;
  steps: number;
  stepsPerEpoch: number;
}

/**
 * The rate of the step that follows `step` steps. With w steps of warm-up and the decay's end at e:
 * base · (step + 1) / w while step < w; then minimum + (base - minimum) · f(p), p = (step - w) / (e - w) up to 1,
 * f(p) = 1, 1 - p or (1 + cos πp) / 2. So no step is spent at rate 0 unless the decay ends before training does.
 * @param base the highest rate
 * @throws ShapeError when a setting is out of range
 */
export function learningRateAt(schedule: LearningRateSchedule, base: number, time: RateTime): number {
  const { decay, warmup = { steps: 0 }, end = { steps: time.steps }, minimum = 0 } = schedule;
  expectSetting("learningRateAt", { minimum }, "a number of at least 0", minimum >= 0);
  expectSetting("learningRateAt", { decay }, `"constant", "linear" or "cosine"`, Object.hasOwn(SHAPES, decay));
  const [rise, last] = [stepsOf(warmup, time), stepsOf(end, time)];
  expectSetting("learningRateAt", { warmup: rise }, "a number of steps of at least 0", rise >= 0);
  if (time.step < rise) return (base * (time.step + 1)) / rise;
  const passed = last > rise ? Math.min(1, (time.step - rise) / (last - rise)) : 1;
  const lowest = Math.min(minimum, base);
  return lowest + (base - lowest) * SHAPES[decay](passed);
}

/** Share of the way from minimum to base that is left at share p of the decay. */
const SHAPES = {
  constant: () => 1,
  linear: (p: number) => 1 - p,
  cosine: (p: number) => (1 + Math.cos(Math.PI * p)) / 2,
};

/** A span in whole steps. */
export function stepsOf(span: Span, { stepsPerEpoch }: { stepsPerEpoch: number }): number {
  return "steps" in span ? span.steps : Math.round(span.epochs * stepsPerEpoch);
}
