// The constants of the model of a step from measurements of one size, and what they predict for another one.

import { median } from "../../workbench/engine/core/measure.ts";
import { allReduceTime, type Machine, type Step, stepTime } from "./model.ts";
import type { ScaleAnswer } from "./phase.ts";
import { flopsPerToken, parametersOf, type Transformer } from "./transformers.ts";

/** Numbers of bytes of a value in a sum, and of memory traffic of an update, see model.ts. */
const [FLOAT, UPDATE_BYTES] = [4, 28];

/** Medians over rounds of the slower rank, for which the other one waits. Seconds by what was measured. */
export function slowest(answers: readonly ScaleAnswer[]): Record<string, number> {
  const [first = {}] = answers;
  return Object.fromEntries(
    Object.entries(first).map(([name, rounds]) => [
      name,
      median(rounds.map((_, round) => Math.max(...answers.map((answer) => answer[name]?.[round] as number)))),
    ]),
  );
}

/** The line y = start + slope · x with the least sum of squared relative errors. Neither is below 0. */
export function lineThrough(points: readonly (readonly [x: number, y: number])[]): { start: number; slope: number } {
  const sums = { w: 0, x: 0, y: 0, xx: 0, xy: 0 };
  for (const [x, y] of points) {
    const w = 1 / y ** 2;
    sums.w += w;
    sums.x += w * x;
    sums.y += w * y;
    sums.xx += w * x * x;
    sums.xy += w * x * y;
  }
  const slope = (sums.w * sums.xy - sums.x * sums.y) / (sums.w * sums.xx - sums.x ** 2);
  const start = (sums.y - slope * sums.x) / sums.w;
  if (slope < 0) return { start: sums.y / sums.w, slope: 0 };
  return start < 0 ? { start: 0, slope: sums.xy / sums.xx } : { start, slope };
}

/**
 * Constants of a machine.
 * @param seconds as of `slowest`, for two ranks
 * @param windows of a rank in a step
 */
export function calibrated(
  model: Transformer,
  seconds: Readonly<Record<string, number>>,
  { windows, sums }: { windows: readonly number[]; sums: readonly number[] },
): Machine {
  const of = (name: string) => seconds[name] as number;
  const optimizer = of(`${model.name} optimizer`);
  const compute = lineThrough(
    windows.map((count) => [count * model.context, of(`${model.name} local ${count}`) - optimizer]),
  );
  // Two ranks send all bytes once, and each message goes to and fro.
  const exchange = lineThrough(sums.map((count) => [FLOAT * count, of(`sum ${count}`)]));
  const alone: Machine = {
    rate: flopsPerToken(model) / compute.slope,
    memory: (UPDATE_BYTES * parametersOf(model)) / optimizer,
    perBlock: compute.start / model.blocks,
    bandwidth: 1 / exchange.slope,
    latency: exchange.start / 2,
    contention: 0,
  };
  const contentions = windows.map((count) => {
    const step = { ranks: 2, tokens: count * model.context };
    const [free, full] = [0, 1].map((contention) => stepTime(model, step, { ...alone, contention }).total);
    const hidden = (full as number) - (free as number);
    // The threads that exchange run for no longer than the exchange. Where little is hidden, the quotient is mostly noise.
    return hidden === 0
      ? 0
      : Math.min(1, Math.max(0, (of(`${model.name} ranks ${count}`) - (free as number)) / hidden));
  });
  return { ...alone, contention: median(contentions) };
}

/** A measured time beside the predicted one, in seconds. */
export interface Prediction {
  what: string;
  predicted: number;
  measured: number;
}

/** Steps of one process and of two, and sums, as the constants predict them. */
export function predictions(
  model: Transformer,
  machine: Machine,
  { seconds, windows }: { seconds: Readonly<Record<string, number>>; windows: readonly number[] },
): Prediction[] {
  const rows: [kind: string, name: string, step: Omit<Step, "tokens">][] = [
    ["each rank alone", "local", { ranks: 1 }],
    ["two ranks", "ranks", { ranks: 2 }],
    ["two ranks, `--shard-optimizer`", "shard", { ranks: 2, shard: true }],
  ];
  return windows.flatMap((count) =>
    rows.map(([kind, name, step]) => ({
      what: `${kind}, ${count * model.context} tokens a rank`,
      predicted: stepTime(model, { ...step, tokens: count * model.context }, machine).total,
      measured: seconds[`${model.name} ${name} ${count}`] as number,
    })),
  );
}

/** Sums of two ranks, as the constants give them. */
export const sumPredictions = (
  machine: Machine,
  { seconds, sums }: { seconds: Readonly<Record<string, number>>; sums: readonly number[] },
): Prediction[] =>
  sums.map((count) => ({
    what: `sum of ${FLOAT * count} bytes`,
    predicted: allReduceTime(FLOAT * count, { ranks: 2 }, machine),
    measured: seconds[`sum ${count}`] as number,
  }));
