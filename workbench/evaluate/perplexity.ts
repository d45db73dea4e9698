// Perplexity of a language model on windows of text: the mean negative log-likelihood of every target that counts, in
// float64, and what follows from it. A value that is not finite is an error, never dropped.

import { type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import type { TextWindows } from "../data/index.ts";
import { EngineError } from "../engine/errors.ts";
import type { Gpt2Config } from "../models/gpt2/config.ts";
import { forInference, gpt2Nll } from "../models/index.ts";
import type { Model } from "../models/model.ts";

export interface PerplexityOptions {
  windows: TextWindows;
  /** windows in one forward pass. Default as many as have 4096 tokens together */
  batch?: number;
  /** the first so many windows only. Default all */
  limit?: number;
  signal?: AbortSignal | undefined;
  /** milliseconds. Default performance.now */
  clock?: () => number;
}

export interface Perplexity {
  /** mean negative log-likelihood of a token, nats */
  nll: number;
  /** exp(nll) */
  perplexity: number;
  /** targets that were scored */
  tokens: number;
  windows: number;
  /** inputs of a window, and how far apart windows begin */
  context: number;
  stride: number;
  seconds: number;
  tokensPerSecond: number;
}

export type PerplexityEvent =
  | { kind: "progress"; windows: number; of: number; tokens: number; nll: number }
  | ({ kind: "perplexity" } & Perplexity);

/**
 * Scores windows in their order.
 * @throws EngineError when a value is not finite, or there is no window
 */
export async function* perplexity(
  model: Model<Gpt2Config>,
  options: PerplexityOptions,
): AsyncGenerator<PerplexityEvent> {
  const { windows, limit = Number.POSITIVE_INFINITY, signal, clock = () => performance.now() } = options;
  const { context, stride } = windows;
  const { batch = Math.max(1, Math.floor(4096 / context)) } = options;
  const count = Math.min(limit, windows.length);
  if (count === 0)
    throw new EngineError(`the text has no window of ${context} tokens`, "give a shorter context or more text");
  const began = clock();
  const prepared = await forInference(model);
  let [total, tokens] = [0, 0];
  try {
    for (let start = 0; start < count; start += batch) {
      signal?.throwIfAborted();
      const size = Math.min(batch, count - start);
      const losses = await lossesOf(prepared, windows, { start, size });
      for (let row = 0; row < size; row++) {
        const scored = windows.newTargets(start + row);
        const own = losses.subarray((row + 1) * context - scored, (row + 1) * context);
        total += sumOf(own, start + row);
        tokens += scored;
      }
      yield { kind: "progress", windows: start + size, of: count, tokens, nll: total / tokens };
    }
  } finally {
    prepared.dispose();
  }
  const nll = total / tokens;
  const seconds = (clock() - began) / 1000;
  const rates = { seconds, tokensPerSecond: tokens / seconds };
  yield { kind: "perplexity", nll, perplexity: Math.exp(nll), tokens, windows: count, context, stride, ...rates };
}

/** (size · context), row by row */
async function lossesOf(
  model: Model<Gpt2Config>,
  windows: TextWindows,
  { start, size }: { start: number; size: number },
): Promise<Float32Array> {
  const length = windows.context + 1;
  const ids = new Int32Array(size * length);
  for (let row = 0; row < size; row++) {
    const window = await windows.read(start + row);
    expectIds(window, model.config, start + row);
    ids.set(window, row * length);
  }
  const input: Tensor2D = tensor2d(ids, [size, length], "int32");
  const losses = gpt2Nll(model, input);
  try {
    return (await losses.data()) as Float32Array;
  } finally {
    input.dispose();
    losses.dispose();
  }
}

/** What engines make of an id that is not in the table is their own affair, an error or a number. */
function expectIds(ids: Int32Array, { vocabulary }: Gpt2Config, window: number): void {
  const strange = ids.find((id) => id < 0 || id >= vocabulary);
  if (strange === undefined) return;
  throw new EngineError(
    `window ${window} has the token ${strange}, the model has ${vocabulary}`,
    "tokenise the text with the model's own tokenizer",
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

/** Perplexities of other units: exp of the whole negative log-likelihood over their number. */
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
