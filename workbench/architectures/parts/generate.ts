// Generates token ids with a language model, one token per forward pass over a key/value cache, or several where a smaller
// model drafts them. The next token is chosen on the host from the logits by the settings of sampling/. A session keeps
// the cache between texts, so that a prompt that begins as the previous text did, as in a chat, is not processed again.

import { reshape, slice, type Tensor2D, tensor2d, tidy } from "@tensorflow/tfjs-core";
import { EngineError, ShapeError } from "../../engine/core/errors.ts";
import { seededUniform } from "../../engine/core/random.ts";
import { linear } from "../../engine/ops/index.ts";
import { expectSetting } from "../../engine/ops/operands.ts";
import type { LanguageSizes, LayerSource } from "../task.ts";
import { type KeyValueCache, keyValueCache } from "./cache.ts";
import { headOf, languageHidden, languageSizes } from "./language-model.ts";
import { type TokenChooser, tokenChooser } from "./sampling/choose.ts";
import { expectSampling, type SamplingSettings } from "./sampling/settings.ts";
import { drawnFrom, judged } from "./sampling/speculative.ts";

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
      /** with a draft: number of tokens that it has proposed, and of those that were kept */
      draft?: DraftCounts;
    };

/** What became of the tokens that a draft has proposed. */
export interface DraftCounts {
  drafted: number;
  kept: number;
}

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

/** A model that proposes tokens. */
export interface Draft {
  /** a model with the same vocabulary, which should be faster */
  model: LayerSource;
  /** most tokens that it proposes at once. Default 3 */
  tokens?: number | undefined;
}

/** Options of `generationSession`. */
export interface SessionOptions {
  /** maximum number of tokens in the cache. Default: the positions of the model */
  capacity?: number;
  /**
   * proposes tokens, which the model judges in one pass, see sampling/speculative.ts. The text is one of the model: the same
   * one if it is greedy, up to ties that rounding decides, else one from the same distribution. Default: none
   */
  draft?: Draft | undefined;
}

/**
 * A session without tokens in its cache.
 * @throws ShapeError if the draft has another vocabulary
 */
export function generationSession(model: LayerSource, { capacity, draft }: SessionOptions = {}): GenerationSession {
  const { positions, vocabulary } = languageSizes(model);
  const held = heldBy(model, capacity ?? positions);
  const drafting = draft && draftingOf(draft, { vocabulary, capacity });
  return {
    generate: (prompt, options = {}) => generated(held, prompt, options, drafting),
    get cached() {
      return held.cache.length;
    },
    dispose() {
      held.cache.dispose();
      drafting?.held.cache.dispose();
    },
  };
}

/** A draft with what it has processed. */
interface Drafting {
  held: Held;
  tokens: number;
  positions: number;
}

function draftingOf(
  { model, tokens = 3 }: Draft,
  { vocabulary, capacity }: { vocabulary: number; capacity: number | undefined },
): Drafting {
  const own = languageSizes(model);
  if (own.vocabulary !== vocabulary) {
    throw new ShapeError(
      `generate: the draft must have the vocabulary of the model, ${vocabulary} tokens, got ${own.vocabulary}`,
    );
  }
  expectSetting("generate", { tokens }, "a whole number of at least 1", Number.isInteger(tokens) && tokens >= 1);
  return { held: heldBy(model, Math.min(capacity ?? own.positions, own.positions)), tokens, positions: own.positions };
}

/**
 * Generates tokens one by one, as `generate` of a session does that is used once.
 * @param prompt token ids; an empty prompt is replaced by the first end-of-text token
 */
export async function* generateTokens(
  model: LayerSource,
  prompt: ArrayLike<number>,
  { draft, ...options }: GenerateOptions & Pick<SessionOptions, "draft"> = {},
): AsyncGenerator<GenerateEvent> {
  const { positions } = languageSizes(model);
  // The last chosen token needs no position because it is not fed to the model.
  const { tokens = positions } = options;
  const capacity = Math.min(positions, Math.max(1, prompt.length) + tokens);
  const session = generationSession(model, { capacity, draft });
  try {
    yield* session.generate(prompt, options);
  } finally {
    session.dispose();
  }
}

/** milliseconds */
const LONGEST_WITHOUT_TURN = 20;

/** A model and the tokens that it has processed: their keys and values, and their ids. */
interface Held {
  model: LayerSource;
  cache: KeyValueCache;
  processed: number[];
}

const heldBy = (model: LayerSource, capacity: number): Held => ({
  model,
  cache: keyValueCache({ capacity }),
  processed: [],
});

async function* generated(
  held: Held,
  prompt: ArrayLike<number>,
  options: GenerateOptions,
  drafting: Drafting | undefined,
): AsyncGenerator<GenerateEvent> {
  const sizes = languageSizes(held.model);
  const { tokens = Number.POSITIVE_INFINITY, seed = 0, signal, endOfText = sizes.endOfText, stop } = options;
  const sequence = checkedPrompt(sizes, prompt);
  expectSampling(options);
  expectSetting("generate", { tokens }, "at least 0", tokens >= 0);
  const room = sizes.positions - sequence.length + 1;
  const most = Math.min(tokens, room);
  const uniform = seededUniform(seed);
  const chooser = tokenChooser(options, {
    prompt: sequence.length,
    maxLength: sequence.length + most,
    endOfText,
    vocabulary: sizes.vocabulary,
    uniform,
  });
  const counts = { drafted: 0, kept: 0 };
  const stopped = (reason: "tokens" | "end of text" | "stop" | "positions", made: number) =>
    ({ kind: "stopped", reason, tokens: made, ...(drafting && { draft: counts }) }) as const;
  keepCommon(held, sequence);
  if (drafting) keepCommon(drafting.held, sequence);
  for (let made = 0, turned = 0; made < most; ) {
    // Engines compute without waiting for the event loop, which has to run for signals and input to be noticed.
    if (performance.now() - turned > LONGEST_WITHOUT_TURN) {
      await new Promise((resolve) => setImmediate(resolve));
      turned = performance.now();
    }
    signal?.throwIfAborted();
    const ids = drafting
      ? await draftedTokens(sequence, { held, drafting, chooser, counts, most: most - made, endOfText, uniform })
      : [chooser.choose((await lastLogits(held, sequence))[0] as Float32Array, sequence)];
    for (const id of ids) {
      if (endOfText.includes(id)) return yield stopped("end of text", made);
      made++;
      sequence.push(id);
      yield { kind: "token", id };
      if (stop?.(id)) return yield stopped("stop", made);
    }
  }
  yield stopped(most < tokens ? "positions" : "tokens", most);
}

interface Round {
  held: Held;
  drafting: Drafting;
  chooser: TokenChooser;
  counts: DraftCounts;
  /** most tokens that may follow */
  most: number;
  endOfText: readonly number[];
  uniform: () => number;
}

/** The tokens that follow a sequence, at least one: as many as the model keeps of those of the draft, and one more. */
async function draftedTokens(
  sequence: readonly number[],
  { held, drafting, chooser, counts, most, endOfText, uniform }: Round,
): Promise<number[]> {
  const longer = [...sequence];
  const distributions: Float64Array[] = [];
  const count = Math.min(drafting.tokens, most - 1, drafting.positions - sequence.length + 1);
  while (distributions.length < count && !endOfText.includes(longer.at(-1) as number)) {
    const [logits] = await lastLogits(drafting.held, longer);
    const probabilities = chooser.probabilities(logits as Float32Array, longer);
    distributions.push(probabilities);
    longer.push(drawnFrom(probabilities, uniform));
  }
  const drafted = longer.slice(sequence.length);
  const logits = await lastLogits(held, longer, drafted.length + 1);
  const ids = judged({
    drafted,
    draft: distributions,
    model: (i) => chooser.probabilities(logits[i] as Float32Array, longer.slice(0, sequence.length + i)),
    uniform,
  });
  counts.drafted += drafted.length;
  counts.kept += ids.length - 1;
  for (const each of [held, drafting.held]) keepCommon(each, [...sequence, ...ids]);
  return ids;
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
function keepCommon({ cache, processed }: Held, sequence: readonly number[]): void {
  const most = Math.min(processed.length, sequence.length - 1);
  let common = 0;
  while (common < most && processed[common] === sequence[common]) common++;
  cache.truncate(common);
  processed.length = common;
}

/**
 * The logits after each of the last `count` tokens of a sequence, float32 (vocabulary) each. Its tokens that are not
 * processed yet, at least so many, are processed.
 */
async function lastLogits(
  { model, cache, processed }: Held,
  sequence: readonly number[],
  count = 1,
): Promise<Float32Array[]> {
  const ids = sequence.slice(processed.length);
  const logits = tidy(() => {
    const hidden = languageHidden(model, tensor2d(ids, [1, ids.length], "int32"), { cache });
    const [, , width] = hidden.shape;
    const rows = reshape(slice(hidden, [0, ids.length - count, 0], [1, count, width]), [count, width]) as Tensor2D;
    return linear(rows, headOf(model));
  });
  // One by one, because Node limits the number of arguments.
  for (const id of ids) processed.push(id);
  const values = (await logits.data()) as Float32Array;
  logits.dispose();
  let zero = 0;
  for (let i = 0; i < values.length; i++) zero += 0 * (values[i] as number);
  if (zero !== 0) throw new EngineError("generate: the model's logits are not finite numbers", "check the checkpoint");
  // Copies, because choosing a token changes the scores, and an engine may share its memory.
  const size = values.length / count;
  return Array.from({ length: count }, (_, i) => values.slice(i * size, (i + 1) * size));
}
