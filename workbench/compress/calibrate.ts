// What a layer's inputs are like: the mean of x xᵀ over the rows that go through it while the model runs on real data.
// Which data and which forward pass are the caller's; nothing of the model changes.

import {
  add,
  matMul,
  mul,
  reshape,
  sub,
  type Tensor,
  type Tensor2D,
  tensor2d,
  tidy,
  type Variable,
  variable,
  zeros,
} from "@tensorflow/tfjs-core";
import { EngineError } from "../engine/core/errors.ts";
import type { Model } from "../models/model.ts";
import { eventLoopTurn } from "../structures/structure.ts";

/** What a calibration runs, and on which layers. */
export interface CalibrateOptions<Input extends Tensor = Tensor2D> {
  /** names of the layers to watch */
  layers: readonly string[];
  /** one forward pass; what it returns is let go */
  forward: (input: Input) => Tensor;
  signal?: AbortSignal;
}

/** Σ, float32 (n_in, n_in) by layer name; the caller's to dispose. */
export type Covariances = Map<string, Tensor2D>;

/** Progress of a calibration; the last event has the covariances. */
export type CalibrateEvent =
  | { kind: "progress"; inputs: number; rows: number }
  | { kind: "calibrated"; covariances: Covariances; rows: number };

/**
 * Memory: n_in² floats a layer, 510 MB for all that GPT-2 small converts.
 * @param inputs disposed of, one after the other
 * @throws EngineError when no input comes, or one does not reach a layer
 */
export async function* calibrate<Input extends Tensor>(
  model: Model,
  inputs: AsyncIterable<Input>,
  { layers, forward, signal }: CalibrateOptions<Input>,
): AsyncGenerator<CalibrateEvent, void> {
  const means = new Map(layers.map((name) => [name, new RunningMean(model.layer(name).nIn)]));
  let done = false;
  try {
    let count = 0;
    for await (const input of inputs) {
      signal?.throwIfAborted();
      try {
        watch(model, means, () => forward(input).dispose());
      } finally {
        input.dispose();
      }
      count += input.shape[0] ?? 1;
      yield { kind: "progress", inputs: count, rows: rowsOf(means) };
      await eventLoopTurn();
    }
    const unseen = [...means].find(([, { rows }]) => rows === 0);
    if (unseen) {
      throw new EngineError(`calibration: nothing went through ${unseen[0]}, ${count} inputs in all`, "give more data");
    }
    done = true;
    const covariances = new Map([...means].map(([name, { mean }]) => [name, mean as unknown as Tensor2D]));
    yield { kind: "calibrated", covariances, rows: rowsOf(means) };
  } finally {
    if (!done) for (const { mean } of means.values()) mean.dispose();
  }
}

/** Token windows as data/ has them: each `context` inputs and one more, for its targets; the last may be shorter. */
export interface WindowSource {
  readonly length: number;
  readonly context: number;
  read(i: number): Promise<Int32Array>;
}

/** How many windows of a text are calibrated on. */
export interface WindowInputsOptions {
  /** windows from the first on; all there are where there are fewer */
  samples: number;
  /** windows at a time. Default 1 */
  batch?: number;
}

/** The inputs of windows as int32 (batch, context): targets are left off. A shorter window is a batch of its own. */
export async function* windowInputs(
  windows: WindowSource,
  { samples, batch = 1 }: WindowInputsOptions,
): AsyncGenerator<Tensor2D, void> {
  const count = Math.min(samples, windows.length);
  for (let first = 0; first < count; first += batch) {
    const indices = Array.from({ length: Math.min(batch, count - first) }, (_, i) => first + i);
    const inputs = await Promise.all(indices.map(async (i) => (await windows.read(i)).subarray(0, -1)));
    const isWhole = ({ length }: Int32Array) => length === windows.context;
    yield* stacked(inputs.filter(isWhole));
    for (const shorter of inputs.filter((input) => !isWhole(input))) yield* stacked([shorter]);
  }
}

/** Rows of one length as int32 (rows, length); nothing of none. */
function* stacked(rows: readonly Int32Array[]): Generator<Tensor2D, void> {
  const length = rows[0]?.length ?? 0;
  if (length === 0) return;
  const ids = new Int32Array(rows.length * length);
  rows.forEach((row, i) => {
    ids.set(row, i * length);
  });
  yield tensor2d(ids, [rows.length, length], "int32");
}

function watch(model: Model, means: ReadonlyMap<string, RunningMean>, run: () => void): void {
  const before = model.observer;
  model.observer = (name, x) => {
    before?.(name, x);
    means.get(name)?.take(x);
  };
  try {
    tidy(run);
  } finally {
    model.observer = before;
  }
}

const rowsOf = (means: ReadonlyMap<string, RunningMean>): number =>
  Math.max(0, ...Array.from(means.values(), ({ rows }) => rows));

/** A mean that never grows with what it has seen: sums of many batches would lose the last ones' digits in float32. */
class RunningMean {
  rows = 0;
  readonly mean: Variable;
  private readonly n: number;

  constructor(n: number) {
    this.n = n;
    this.mean = tidy(() => variable(zeros([n, n]), false));
  }

  /** @param x (…, n) */
  take(x: Tensor): void {
    tidy(() => {
      const flat = reshape(x, [-1, this.n]) as Tensor2D;
      const count = flat.shape[0];
      this.rows += count;
      const here = mul(matMul(flat, flat, true), 1 / count);
      this.mean.assign(add(this.mean, mul(sub(here, this.mean), count / this.rows)));
    });
  }
}
