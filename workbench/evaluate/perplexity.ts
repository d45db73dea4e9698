// Computes the perplexity of a language model on windows of text from the mean negative log-likelihood of all scored
// targets, which is summed in float64. A loss that is not finite is an error.

import { type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import type { TextWindows } from "../data/index.ts";
import { isOwn, type Sharing, shared } from "../distributed/shares.ts";
import { EngineError } from "../engine/core/errors.ts";
import { languageNll, languageSizes } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import { inferenceAlike } from "./inference-alike.ts";

/** Options of `perplexity`. */
export interface PerplexityOptions extends Sharing {
  windows: TextWindows;
  /** windows per forward pass. Default: as many as have 4096 tokens in total */
  batch?: number;
  /** number of windows to score, from the start. Default: all */
  limit?: number;
  /** clock, milliseconds. Default performance.now */
  clock?: () => number;
}

/** The perplexity of a language model on a text. */
export interface Perplexity {
  /** mean negative log-likelihood of a token, nats */
  nll: number;
  /** exp(nll) */
  perplexity: number;
  /** targets that were scored */
  tokens: number;
  windows: number;
  /** inputs of a window, and distance between the starts of windows, in tokens */
  context: number;
  stride: number;
  /** targets that were not scored: after the last whole window, or beyond `limit` */
  leftOut: number;
  seconds: number;
  tokensPerSecond: number;
}

/** Progress of the evaluation; the last event has the result. */
export type PerplexityEvent =
  | { kind: "progress"; windows: number; of: number; tokens: number; nll: number }
  | ({ kind: "perplexity" } & Perplexity);

/**
 * Computes the perplexity of a language model: exp of the mean negative log-likelihood of all scored tokens. The result
 * is the same, bit by bit, whatever the number of processes that share the windows; progress is that of this process.
 * @throws EngineError if a loss is not finite, a token id is not in the vocabulary, or there is no window; for processes
 *   as `shared`
 */
export async function* perplexity(model: Model, options: PerplexityOptions): AsyncGenerator<PerplexityEvent> {
  const { windows, limit = Number.POSITIVE_INFINITY, ranks, signal, clock = () => performance.now() } = options;
  const { context, stride } = windows;
  const { batch = Math.max(1, Math.floor(4096 / context)) } = options;
  const count = Math.min(limit, windows.length);
  if (count === 0) throw noWindow(windows);
  const began = clock();
  const sharing = { ranks, signal };
  const work = scoresOf(model, { windows, batch, count, ...sharing });
  const shares = yield* shared("an evaluation", work, sharing);
  // In the order of windows, as a sum of float64 depends on it.
  const scores = shares.flat().sort((a, b) => a.window - b.window);
  let [total, tokens] = [0, 0];
  for (const { sum, targets } of scores) {
    total += sum;
    tokens += targets;
  }
  const nll = total / tokens;
  const seconds = (clock() - began) / 1000;
  const rates = { seconds, tokensPerSecond: tokens / seconds };
  const leftOut = windows.scored + windows.leftOut - tokens;
  const sizes = { tokens, windows: count, context, stride, leftOut };
  yield { kind: "perplexity", nll, perplexity: Math.exp(nll), ...sizes, ...rates };
}

/** The score of one window. */
interface WindowScore {
  window: number;
  /** sum of the negative log-likelihoods of its targets, nats */
  sum: number;
  targets: number;
}

interface WindowShare extends Sharing {
  windows: TextWindows;
  batch: number;
  count: number;
}

/** The scores of this process's windows. */
async function* scoresOf(
  model: Model,
  { windows, batch, count, ranks, signal }: WindowShare,
): AsyncGenerator<PerplexityEvent, WindowScore[]> {
  const scores: WindowScore[] = [];
  let [total, tokens] = [0, 0];
  const prepared = await inferenceAlike(model, { ranks, signal });
  try {
    for await (const { start, rows } of batchesOf(windows, { count, batch, ranks })) {
      signal?.throwIfAborted();
      const length = (rows[0] as Int32Array).length - 1;
      const losses = await lossesOf(prepared, rows, start);
      for (let row = 0; row < rows.length; row++) {
        const targets = windows.newTargets(start + row);
        const sum = sumOf(losses.subarray((row + 1) * length - targets, (row + 1) * length), start + row);
        scores.push({ window: start + row, sum, targets });
        total += sum;
        tokens += targets;
      }
      yield { kind: "progress", windows: start + rows.length, of: count, tokens, nll: total / tokens };
    }
  } finally {
    prepared.dispose();
  }
  return scores;
}

function noWindow({ context, leftOut }: TextWindows): EngineError {
  if (leftOut === 0) return new EngineError("the text has no token to predict", "give more text");
  const problem = `the text has ${leftOut + 1} tokens, which is less than one whole window of ${context}`;
  return new EngineError(
    problem,
    "score shorter windows too (without --whole-windows), or give a shorter context or more text",
  );
}

/** This process's batches of windows of equal length; the last window may be shorter and is then a batch of its own. */
async function* batchesOf(
  windows: TextWindows,
  { count, batch, ranks }: Omit<WindowShare, "windows" | "signal">,
): AsyncGenerator<{ start: number; rows: Int32Array[] }> {
  for (let start = 0; start < count; start += batch) {
    if (!isOwn(ranks, start / batch)) continue;
    const indices = Array.from({ length: Math.min(batch, count - start) }, (_, i) => start + i);
    const rows = await Promise.all(indices.map((i) => windows.read(i)));
    const last = rows.at(-1) as Int32Array;
    const shorter = rows.length > 1 && last.length < (rows[0] as Int32Array).length;
    yield { start, rows: shorter ? rows.slice(0, -1) : rows };
    if (shorter) yield { start: start + rows.length - 1, rows: [last] };
  }
}

/**
 * The losses of all targets, float32 (rows · targets), row by row.
 * @param start index of the first window, for messages
 */
async function lossesOf(model: Model, rows: readonly Int32Array[], start: number): Promise<Float32Array> {
  const length = (rows[0] as Int32Array).length;
  const ids = new Int32Array(rows.length * length);
  const { vocabulary } = languageSizes(model);
  rows.forEach((window, row) => {
    expectIds(window, vocabulary, start + row);
    ids.set(window, row * length);
  });
  const input: Tensor2D = tensor2d(ids, [rows.length, length], "int32");
  const losses = languageNll(model, input);
  try {
    return (await losses.data()) as Float32Array;
  } finally {
    input.dispose();
    losses.dispose();
  }
}

/** Checks ids on the host, because engines differ in what they do with an id outside the vocabulary. */
function expectIds(ids: Int32Array, vocabulary: number, window: number): void {
  const strange = ids.find((id) => id < 0 || id >= vocabulary);
  if (strange === undefined) return;
  throw new EngineError(
    `window ${window} has token id ${strange}, but the vocabulary of the model has ${vocabulary} tokens`,
    "tokenize the text with the model's own tokenizer",
  );
}

function sumOf(losses: Float32Array, window: number): number {
  let sum = 0;
  for (const loss of losses) sum += loss;
  if (Number.isFinite(sum)) return sum;
  const at = losses.findIndex((loss) => !Number.isFinite(loss));
  throw new EngineError(
    `the loss of window ${window} is ${losses[at]} at its scored target ${at}`,
    "check the checkpoint's values, or use float32",
  );
}

/**
 * Perplexity per word and per byte, which do not depend on the tokenizer: exp of the total negative log-likelihood
 * divided by the number of words or bytes of the text.
 */
export function perUnit(
  { nll, tokens }: Perplexity,
  { words, bytes }: { words: number; bytes: number },
): {
  perplexityPerWord: number;
  perplexityPerByte: number;
  bitsPerByte: number;
} {
  const whole = nll * tokens;
  return {
    perplexityPerWord: Math.exp(whole / words),
    perplexityPerByte: Math.exp(whole / bytes),
    bitsPerByte: whole / bytes / Math.LN2,
  };
}
