// Calibration: the covariance of each layer's inputs, that is the mean of x xᵀ over the rows that go through the layer
// while the model runs on sample data. The caller provides the data and the forward pass; the model is not changed.

import { type Tensor, type Tensor2D, tensor2d, tidy } from "@tensorflow/tfjs-core";
import type { ProcessGroup } from "../distributed/process-group.ts";
import { isOwn, type Sharing, shared } from "../distributed/shares.ts";
import { EngineError } from "../engine/core/errors.ts";
import type { Model } from "../models/model.ts";
import { eventLoopTurn } from "../structures/structure.ts";
import { RunningMean } from "./running-mean.ts";

/** Options of `calibrate`. Several processes have the same inputs, which are dealt to them in turn. */
export interface CalibrateOptions<Input extends Tensor = Tensor2D> extends Sharing {
  /** names of the layers whose inputs are recorded */
  layers: readonly string[];
  /** one forward pass; its result is disposed of */
  forward: (input: Input) => Tensor;
}

/**
 * Σ, float32 (n_in, n_in), by layer name. Layers with the same input, such as queries and keys, have the same tensor. The
 * caller disposes of them.
 */
export type Covariances = Map<string, Tensor2D>;

/** Progress of a calibration; the last event has the covariances. */
export type CalibrateEvent =
  | { kind: "progress"; inputs: number; rows: number }
  | { kind: "calibrated"; covariances: Covariances; rows: number };

/**
 * Computes the covariances of the layers' inputs. Takes n_in² floats of memory per input, 510 MB for the layers of
 * GPT-2 small that its recipe converts.
 * @param inputs inputs of the model, which are used and disposed of one after the other
 * @throws EngineError when there is no input, or a layer receives none
 */
export async function* calibrate<Input extends Tensor>(
  model: Model,
  inputs: AsyncIterable<Input>,
  { layers, forward, ranks, signal }: CalibrateOptions<Input>,
): AsyncGenerator<CalibrateEvent, void> {
  const means = new Map(layers.map((name) => [name, new RunningMean(model.layer(name).nIn)]));
  let done = false;
  try {
    const own = observed(model, inputs, { means, forward, ranks, signal });
    const shares = yield* shared("a calibration", own, { ranks, signal });
    if (ranks) await combine(means, { ranks, counts: shares.map(({ rows }) => rows) });
    const unseen = [...means].find(([, { rows }]) => rows === 0);
    if (unseen) {
      throw new EngineError(
        `calibration: ${unseen[0]} received no input from ${shares[0]?.count} inputs of the model`,
        "use more data",
      );
    }
    done = true;
    const covariances = new Map([...means].map(([name, { mean }]) => [name, mean as unknown as Tensor2D]));
    yield { kind: "calibrated", covariances, rows: rowsOf(means) };
  } finally {
    if (!done) for (const { mean } of means.values()) mean?.dispose();
  }
}

/**
 * Adds the inputs of this process to the means.
 * @returns the number of inputs of all processes, and the rows of each layer here, in the order of `means`
 */
async function* observed<Input extends Tensor>(
  model: Model,
  inputs: AsyncIterable<Input>,
  { means, forward, ranks, signal }: Omit<CalibrateOptions<Input>, "layers"> & { means: Map<string, RunningMean> },
): AsyncGenerator<CalibrateEvent, { count: number; rows: number[] }> {
  let [index, count] = [0, 0];
  for await (const input of inputs) {
    signal?.throwIfAborted();
    const counts = isOwn(ranks, index++);
    try {
      // All processes see the first input, which shows the layers with the same input.
      if (counts || count === 0) watch(model, means, { run: () => forward(input).dispose(), counts });
    } finally {
      input.dispose();
    }
    count += input.shape[0] ?? 1;
    yield { kind: "progress", inputs: count, rows: rowsOf(means) };
    await eventLoopTurn();
  }
  return { count, rows: Array.from(means.values(), ({ rows }) => rows) };
}

/** Makes the means those of the inputs of all processes. @param counts rows of each process, by layer */
async function combine(
  means: ReadonlyMap<string, RunningMean>,
  { ranks, counts }: { ranks: ProcessGroup; counts: readonly (readonly number[])[] },
): Promise<void> {
  const combined = new Set<RunningMean>();
  for (const [i, mean] of [...means.values()].entries()) {
    if (combined.has(mean)) continue;
    combined.add(mean);
    await mean.combine(
      ranks,
      counts.map((rows) => rows[i] as number),
    );
  }
}

/** Windows of tokens. Each has `context` inputs and one more token for the targets; the last window may be shorter. */
export interface WindowSource {
  readonly length: number;
  readonly context: number;
  read(i: number): Promise<Int32Array>;
}

/** Options of `windowInputs`. */
export interface WindowInputsOptions {
  /** number of windows, from the first on; all windows if there are fewer */
  samples: number;
  /** windows per forward pass. Default 1 */
  batch?: number;
}

/** The inputs of windows as int32 (batch, context), without targets. A shorter window is a batch of its own. */
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

/** Rows of equal length as int32 (rows, length). Yields nothing if there are no rows. */
function* stacked(rows: readonly Int32Array[]): Generator<Tensor2D, void> {
  const length = rows[0]?.length ?? 0;
  if (length === 0) return;
  const ids = new Int32Array(rows.length * length);
  rows.forEach((row, i) => {
    ids.set(row, i * length);
  });
  yield tensor2d(ids, [rows.length, length], "int32");
}

/**
 * Runs `run` and adds the inputs of layers to their means. A layer that gets the same tensor as an earlier one shares
 * its mean.
 * @param options.counts whether the inputs count; if not, it is only seen which means are shared
 */
function watch(
  model: Model,
  means: Map<string, RunningMean>,
  { run, counts }: { run: () => void; counts: boolean },
): void {
  const before = model.observer;
  const seen = new Map<number, RunningMean>();
  model.observer = (name, x) => {
    before?.(name, x);
    const own = means.get(name);
    if (!own) return;
    const shared = seen.get(x.id);
    if (own.rows === 0 && shared) means.set(name, shared);
    else if (shared !== own && counts) own.take(x);
    seen.set(x.id, shared ?? own);
  };
  try {
    tidy(run);
  } finally {
    model.observer = before;
  }
}

const rowsOf = (means: ReadonlyMap<string, RunningMean>): number =>
  Math.max(0, ...Array.from(means.values(), ({ rows }) => rows));
