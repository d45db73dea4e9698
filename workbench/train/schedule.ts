// Where a run stands after so many optimizer steps: epoch, batch, items, seeds, learning rate. All of it follows from the
// settings and the step alone, so that a resumed run stands where the first one stood.

import { bits, mixSeed, uniform } from "../engine/core/random.ts";
import { expectSetting } from "../engine/ops/operands.ts";
import type { TrainingTime } from "../gblr/schedules.ts";
import type { FitOptions } from "./options.ts";

/** A time of training, in one of two units. */
export type Span = { epochs: number } | { steps: number };

/** Warm-up and decay of the learning rate. */
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

/** The place in training at which a learning rate is asked for. */
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

export interface Schedule {
  /** of the whole run */
  steps: number;
  stepsPerEpoch: number;
  /** items of one optimizer step, at most */
  batch: number;
  microBatch: number;
  /** items of one epoch */
  items: number;
  seed: number;
}

/** Some items for one forward pass. */
export interface MicroBatch {
  /** optimizer steps done before this one */
  step: number;
  /** within the step, counted from 0 */
  index: number;
  /** micro-batches of the step */
  count: number;
  items: number[];
  /** items of the step */
  total: number;
  readSeed: number;
  lossSeed: number;
}

/** @throws ShapeError when a size makes no sense */
export function scheduleOf(options: FitOptions): Schedule {
  const { task, batch, microBatch = batch, lastBatch = "keep", length, seed } = options;
  const items = task.length;
  const whole = (value: number, least: number) => Number.isSafeInteger(value) && value >= least;
  for (const [name, value] of Object.entries({ items, batch, microBatch })) {
    expectSetting("fit", { [name]: value }, "a whole number of at least 1", whole(value, 1));
  }
  expectSetting("fit", { seed }, "a whole number of at least 0", whole(seed, 0));
  expectSetting("fit", { lastBatch }, '"keep" or "drop"', lastBatch === "keep" || lastBatch === "drop");
  const full = Math.floor(items / batch);
  const stepsPerEpoch = lastBatch === "keep" ? Math.ceil(items / batch) : full;
  expectSetting("fit", { batch }, `at most the ${items} items where the last batch is dropped`, stepsPerEpoch > 0);
  const steps = stepsOf(length, { stepsPerEpoch });
  expectSetting("fit", { "length in steps": steps }, "a whole number of at least 1", whole(steps, 1));
  return { steps, stepsPerEpoch, batch, microBatch: Math.min(microBatch, batch), items, seed };
}

/** Epoch and batch of the step that follows `step` steps. */
export function timeAt({ stepsPerEpoch }: Schedule, step: number): TrainingTime {
  return { epoch: Math.floor(step / stepsPerEpoch), batch: step % stepsPerEpoch, batchesPerEpoch: stepsPerEpoch };
}

/** Random choices in training draw from independent streams. */
const STREAMS = { order: 1, read: 2, loss: 3 } as const;

/** 32 bits that depend on the run's seed, the stream, and where in it. */
export function seedOf(seed: number, stream: keyof typeof STREAMS, ...place: number[]): number {
  return [STREAMS[stream], ...place].reduce((key, part) => bits(part, key), mixSeed(seed));
}

/** The items of an epoch in the order in which they are seen. Fisher and Yates. */
export function epochOrder({ items, seed }: Schedule, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: items }, (_, i) => i);
  const key = seedOf(seed, "order", epoch);
  for (let last = items - 1; last > 0; last--) {
    const other = Math.floor(uniform(last, key) * (last + 1));
    [order[last], order[other]] = [order[other] as number, order[last] as number];
  }
  return order;
}

/** Every micro-batch from the one that follows `start` steps to the last of the run. */
export function* microBatches(schedule: Schedule, start: number): Generator<MicroBatch> {
  let order: { epoch: number; items: Uint32Array } | undefined;
  for (let step = start; step < schedule.steps; step++) {
    const { epoch, batch } = timeAt(schedule, step);
    if (order?.epoch !== epoch) order = { epoch, items: epochOrder(schedule, epoch) };
    const first = batch * schedule.batch;
    const items = [...order.items.subarray(first, first + schedule.batch)];
    const count = Math.ceil(items.length / schedule.microBatch);
    for (let index = 0; index < count; index++) {
      yield {
        step,
        index,
        count,
        items: items.slice(index * schedule.microBatch, (index + 1) * schedule.microBatch),
        total: items.length,
        readSeed: seedOf(schedule.seed, "read", step, index),
        lossSeed: seedOf(schedule.seed, "loss", step, index),
      };
    }
  }
}
