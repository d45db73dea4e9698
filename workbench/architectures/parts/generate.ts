// Generates token ids with a language model, one token per forward pass over a key/value cache. The next token is chosen
// on the host from the logits by the settings of sampling/. A session keeps the cache between texts, so that a prompt
// that begins as the previous text did, as in a chat, is not processed again.

import { reshape, slice, type Tensor1D, tensor2d, tidy } from "@tensorflow/tfjs-core";
import { EngineError, ShapeError } from "../../engine/core/errors.ts";
import { seededUniform } from "../../engine/core/random.ts";
import { linear } from "../../engine/ops/index.ts";
import { expectSetting } from "../../engine/ops/operands.ts";
import type { LanguageSizes, LayerSource } from "../task.ts";
import { type KeyValueCache, keyValueCache } from "./cache.ts";
import { headOf, languageHidden, languageSizes } from "./language-model.ts";
import { tokenChooser } from "./sampling/choose.ts";
import { expectSampling, type SamplingSettings } from "./sampling/settings.ts";

/** How tokens are chosen, and when generation stops. */
export interface GenerateOptions extends SamplingSettings {
  /** maximum number of tokens to generate. Default: until the text ends or the model has no more positions */
  tokens?: number | undefined;
  /** random seed. The same seed gives the same text on the same engine. Default 0 */
  seed?: number;
  /** tokens that end the text; with an empty list no token ends it. Default: those of the model's config */
  endOfText?: readonly number[] | undefined;
  /** called with each token; generation stops after a token for which it returns true. Default: none */
  stop?: ((id: number) => boolean) | undefined;
  signal?: AbortSignal;
}

/** A generated token, or the end of generation with its reason. */
export type GenerateEvent =
  | { kind: "token"; id: number }
  | {
      kind: "stopped";
      /**
       * `tokens`: the maximum number was generated; `end of text`: the model chose a token that ends the text; `stop`:
       * the option `stop` returned true; `positions`: the model has no more positions
       */
      reason: "tokens" | "end of text" | "stop" | "positions";
      /** number of tokens generated */
      tokens: number;
    };

/** Generates texts with one model, one after the other. Must be disposed of. */
export interface GenerationSession {
  /**
   * Generates tokens one by one. Tokens at the start of the prompt that are still in the cache are not processed again.
   * @param prompt token ids; an empty prompt is replaced by the first end-of-text token
   * @throws ShapeError if the prompt is longer than the model's positions or has an id outside the vocabulary, or if a
   * setting is out of range
   * @throws EngineError if a logit is not finite
   */
  generate(prompt: ArrayLike<number>, options?: GenerateOptions): AsyncGenerator<GenerateEvent>;
  /** number of tokens in the cache */
  readonly cached: number;
  dispose(): void;
}

/** A session without tokens in its cache. @param capacity maximum number of tokens in the cache. Default: the positions */
export function generationSession(model: LayerSource, capacity = languageSizes(model).positions): GenerationSession {
  const cache = keyValueCache({ capacity });
  const processed: number[] = [];
  return {
    generate: (prompt, options = {}) => generated(model, prompt, options, { cache, processed }),
    get cached() {
      return cache.length;
    },
    dispose: () => cache.dispose(),
  };
}

/**
 * Generates tokens one by one, as `generate` of a session does that is used once.
 * @param prompt token ids; an empty prompt is replaced by the first end-of-text token
 */
export async function* generateTokens(
  model: LayerSource,
  prompt: ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<GenerateEvent> {
  const { positions } = languageSizes(model);
  // The last chosen token needs no position because it is not fed to the model.
  const { tokens = positions } = options;
  const session = generationSession(model, Math.min(positions, Math.max(1, prompt.length) + tokens));
  try {
    yield* session.generate(prompt, options);
  } finally {
    session.dispose();
  }
}

/** milliseconds */
const LONGEST_WITHOUT_TURN = 20;

/** The tokens that a model has processed: their keys and values, and their ids. */
interface Processed {
  cache: KeyValueCache;
  processed: number[];
}

async function* generated(
  model: LayerSource,
  prompt: ArrayLike<number>,
  options: GenerateOptions,
  held: Processed,
): AsyncGenerator<GenerateEvent> {
  const sizes = languageSizes(model);
  const { tokens = Number.POSITIVE_INFINITY, seed = 0, signal, endOfText = sizes.endOfText, stop } = options;
  const sequence = checkedPrompt(sizes, prompt);
  expectSampling(options);
  expectSetting("generate", { tokens }, "at least 0", tokens >= 0);
  const room = sizes.positions - sequence.length + 1;
  const most = Math.min(tokens, room);
  const chooser = tokenChooser(options, {
    prompt: sequence.length,
    maxLength: sequence.length + most,
    endOfText,
    vocabulary: sizes.vocabulary,
    uniform: seededUniform(seed),
  });
  const stopped = (reason: "tokens" | "end of text" | "stop" | "positions", made: number) =>
    ({ kind: "stopped", reason, tokens: made }) as const;
  keepCommon(held, sequence);
  for (let made = 0, turned = 0; made < most; ) {
    // Engines compute without waiting for the event loop, which has to run for signals and input to be noticed.
    if (performance.now() - turned > LONGEST_WITHOUT_TURN) {
      await new Promise((resolve) => setImmediate(resolve));
      turned = performance.now();
    }
    signal?.throwIfAborted();
    const id = chooser.choose(await nextLogits(model, sequence, held), sequence);
    if (endOfText.includes(id)) return yield stopped("end of text", made);
    made++;
    sequence.push(id);
    yield { kind: "token", id };
    if (stop?.(id)) return yield stopped("stop", made);
  }
  yield stopped(most < tokens ? "positions" : "tokens", most);
}

function checkedPrompt({ positions, vocabulary, endOfText }: LanguageSizes, prompt: ArrayLike<number>): number[] {
  const ids = Array.from(prompt);
  if (ids.length === 0) ids.push(...endOfText.slice(0, 1));
  if (ids.length === 0 || ids.length > positions) {
    throw new ShapeError(
      `generate: prompt must be from 1 to ${positions} tokens, the model's positions, got ${ids.length}`,
    );
  }
  const wrong = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabulary));
  if (wrong !== undefined) {
    throw new ShapeError(`generate: prompt must be of ids from 0 to ${vocabulary - 1}, the vocabulary, got ${wrong}`);
  }
  return ids;
}

/** Drops processed tokens from the first on that differs. The last token of the sequence is processed for its logits. */
function keepCommon({ cache, processed }: Processed, sequence: readonly number[]): void {
  const most = Math.min(processed.length, sequence.length - 1);
  let common = 0;
  while (common < most && processed[common] === sequence[common]) common++;
  cache.truncate(common);
  processed.length = common;
}

/** The logits of the token that follows a sequence, of which the tokens that are not processed yet are processed. */
async function nextLogits(
  model: LayerSource,
  sequence: readonly number[],
  { cache, processed }: Processed,
): Promise<Float32Array> {
  const ids = sequence.slice(processed.length);
  const logits = tidy(() => {
    const hidden = languageHidden(model, tensor2d(ids, [1, ids.length], "int32"), { cache });
    const [, , width] = hidden.shape;
    const row = reshape(slice(hidden, [0, ids.length - 1, 0], [1, 1, width]), [1, width]);
    return reshape(linear(row, headOf(model)), [-1]) as Tensor1D;
  });
  // One by one, because Node limits the number of arguments.
  for (const id of ids) processed.push(id);
  const values = (await logits.data()) as Float32Array;
  logits.dispose();
  let zero = 0;
  for (let i = 0; i < values.length; i++) zero += 0 * (values[i] as number);
  if (zero !== 0) throw new EngineError("generate: the model's logits are not finite numbers", "check the checkpoint");
  // A copy, because choosing a token changes the scores, and an engine may share its memory.
  return values.slice();
}
