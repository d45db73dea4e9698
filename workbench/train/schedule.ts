// The schedule of a run: epoch, batch, items, seeds and learning rate of every step. They depend on the settings and
// the step alone, so that a resumed run continues identically.

import { seedAt, uniform } from "../engine/core/random.ts";
import { expectSetting } from "../engine/ops/operands.ts";
import type { TrainingTime } from "../gblr/schedules.ts";
import type { FitOptions } from "./options.ts";

/** A length of training, in epochs or optimizer steps. */
export type Span = { epochs: number } | { steps: number };

/** Warm-up and decay of the learning rate. */
export interface LearningRateSchedule {
  /** decay after the warm-up */
  decay: "constant" | "linear" | "cosine";
  /** length of the linear rise from 0. Default none */
  warmup?: Span;
  /** time from the start of training at which the decay reaches the minimum. Default the end of training */
  end?: Span;
  /** learning rate at the end of the decay, of every parameter group. Default 0 */
  minimum?: number;
}

/** The time for which a learning rate is computed. */
export interface RateTime {
  /** completed optimizer steps */
  step: number;
  steps: number;
  stepsPerEpoch: number;
}

/**
 * The learning rate of the next step after `step` steps. With w steps of warm-up and the end of the decay at step e:
 * base · (step + 1) / w while step < w; then minimum + (base - minimum) · f(p), p = (step - w) / (e - w) up to 1,
 * f(p) = 1, 1 - p or (1 + cos πp) / 2. No step has rate 0 unless the decay ends before training does.
 * @param base the peak learning rate
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

/** The factors f(p). */
const SHAPES = {
  constant: () => 1,
  linear: (p: number) => 1 - p,
  cosine: (p: number) => (1 + Math.cos(Math.PI * p)) / 2,
};

/** A span in whole steps. */
export function stepsOf(span: Span, { stepsPerEpoch }: { stepsPerEpoch: number }): number {
  return "steps" in span ? span.steps : Math.round(span.epochs * stepsPerEpoch);
}

/** The sizes of a run, from which epoch, batch and seeds of each step are computed. */
export interface Schedule {
  /** steps of the whole run */
  steps: number;
  stepsPerEpoch: number;
  /** maximum items per optimizer step */
  batch: number;
  microBatch: number;
  /** items per epoch */
  items: number;
  /**
   * whether items are numbers in a stream, which has an order of its own: they are not shuffled, and all steps are whole,
   * as a stream does not end with an epoch. Default false
   */
  inOrder?: boolean;
  seed: number;
}

/** The items of one forward pass. */
export interface MicroBatch {
  /** completed optimizer steps */
  step: number;
  /** index within the step, counted from 0 */
  index: number;
  /** micro-batches of the step */
  count: number;
  /** whether it is this process's last one of the step */
  isLast: boolean;
  /** none if the step has fewer micro-batches than the run has processes */
  items: number[];
  /** items of the step */
  total: number;
  readSeed: number;
  lossSeed: number;
}

/**
 * The schedule of a run.
 * @throws ShapeError when a size is out of range
 */
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
  const inOrder = task.position !== undefined;
  return { steps, stepsPerEpoch, batch, microBatch: Math.min(microBatch, batch), items, inOrder, seed };
}

/** Epoch and batch of the next step after `step` steps. */
export function timeAt({ stepsPerEpoch }: Schedule, step: number): TrainingTime {
  return { epoch: Math.floor(step / stepsPerEpoch), batch: step % stepsPerEpoch, batchesPerEpoch: stepsPerEpoch };
}

/** Independent random streams of training: the order of items, the reading of items, and the forward pass. */
const STREAMS = { order: 1, read: 2, loss: 3 } as const;

/**
 * A seed of 32 bits.
 * @param seed seed of the run
 * @param place position in the stream, such as step and micro-batch
 */
export function seedOf(seed: number, stream: keyof typeof STREAMS, ...place: number[]): number {
  return seedAt(seed, STREAMS[stream], ...place);
}

/** The items of an epoch in random order (Fisher-Yates shuffle). */
export function epochOrder({ items, seed }: Schedule, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: items }, (_, i) => i);
  const key = seedOf(seed, "order", epoch);
  for (let last = items - 1; last > 0; last--) {
    const other = Math.floor(uniform(last, key) * (last + 1));
    [order[last], order[other]] = [order[other] as number, order[last] as number];
  }
  return order;
}

/**
 * All micro-batches of the run after `start` steps. With several processes, those of one of them: they take turns. Each
 * has at least one micro-batch in each step, which may be empty.
 */
export function* microBatches(
  schedule: Schedule,
  start: number,
  { rank, size } = { rank: 0, size: 1 },
): Generator<MicroBatch> {
  let order: { epoch: number; items: Uint32Array } | undefined;
  const itemsOf = (epoch: number, first: number): number[] => {
    if (schedule.inOrder) return Array.from({ length: schedule.batch }, (_, i) => first + i);
    const last = Math.min(schedule.items, first + schedule.batch);
    if (order?.epoch !== epoch) order = { epoch, items: epochOrder(schedule, epoch) };
    return [...order.items.subarray(first, last)];
  };
  for (let step = start; step < schedule.steps; step++) {
    const { epoch, batch } = timeAt(schedule, step);
    const items = itemsOf(epoch, batch * schedule.batch);
    const count = Math.ceil(items.length / schedule.microBatch);
    for (let index = rank; index < Math.max(count, rank + 1); index += size) {
      yield {
        step,
        index,
        count,
        isLast: index + size >= count,
        items: items.slice(index * schedule.microBatch, (index + 1) * schedule.microBatch),
        total: items.length,
        readSeed: seedOf(schedule.seed, "read", step, index),
        lossSeed: seedOf(schedule.seed, "loss", step, index),
      };
    }
  }
}
