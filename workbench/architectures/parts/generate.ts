// Generates token ids with a language model, one token per forward pass over a key/value cache. The next token is
// sampled on the host from the logits: first temperature, then top-k, then top-p of the remaining tokens, in the order
// of Hugging Face's samplers.

import { reshape, slice, type Tensor1D, tensor2d, tidy } from "@tensorflow/tfjs-core";
import { EngineError, ShapeError } from "../../engine/core/errors.ts";
import { seededUniform } from "../../engine/core/random.ts";
import { linear } from "../../engine/ops/index.ts";
import { expectSetting } from "../../engine/ops/operands.ts";
import type { LanguageSizes, LayerSource } from "../task.ts";
import { type KeyValueCache, keyValueCache } from "./cache.ts";
import { headOf, languageHidden, languageSizes } from "./language-model.ts";

/** How tokens are chosen, and when generation stops. */
export interface GenerateOptions extends SampleOptions {
  /** maximum number of tokens to generate. Default: until the text ends or the model has no more positions */
  tokens?: number;
  /** random seed. The same seed gives the same text on the same engine. Default 0 */
  seed?: number;
  /** tokens that end the text; with an empty list no token ends it. Default: those of the model's config */
  endOfText?: readonly number[] | undefined;
  signal?: AbortSignal;
}

/** A generated token, or the end of generation with its reason. */
export type GenerateEvent =
  | { kind: "token"; id: number }
  | {
      kind: "stopped";
      /**
       * `tokens`: the maximum number was generated; `end of text`: the model chose a token that ends the text;
       * `positions`: the model has no more positions
       */
      reason: "tokens" | "end of text" | "positions";
      /** number of tokens generated */
      tokens: number;
    };

/**
 * Generates tokens one by one.
 * @param prompt token ids; an empty prompt is replaced by the first end-of-text token
 * @throws ShapeError if the prompt is longer than the model's positions or has an id outside the vocabulary, or if a
 * setting is out of range
 * @throws EngineError if a logit is not finite
 */
export async function* generateTokens(
  model: LayerSource,
  prompt: ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<GenerateEvent> {
  const sizes = languageSizes(model);
  const { positions } = sizes;
  const { tokens = Number.POSITIVE_INFINITY, seed = 0, signal, endOfText = sizes.endOfText } = options;
  const start = checkedPrompt(sizes, prompt);
  expectSampling(options);
  expectSetting("generate", { tokens }, "at least 0", tokens >= 0);
  const uniform = seededUniform(seed);
  // The last chosen token needs no position because it is not fed to the model.
  const room = positions - start.length + 1;
  const cache = keyValueCache({ capacity: Math.min(positions, start.length + Math.min(tokens, room)) });
  let ids = start;
  let made = 0;
  try {
    while (made < Math.min(tokens, room)) {
      signal?.throwIfAborted();
      const id = sampleToken(await nextLogits(model, ids, cache), options, uniform);
      if (endOfText.includes(id)) {
        yield { kind: "stopped", reason: "end of text", tokens: made };
        return;
      }
      made++;
      yield { kind: "token", id };
      ids = [id];
    }
    yield { kind: "stopped", reason: made < tokens ? "positions" : "tokens", tokens: made };
  } finally {
    cache.dispose();
  }
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

/** The logits of the token that follows `ids`. The keys and values of `ids` are added to the cache. */
async function nextLogits(model: LayerSource, ids: number[], cache: KeyValueCache): Promise<Float32Array> {
  const logits = tidy(() => {
    const hidden = languageHidden(model, tensor2d(ids, [1, ids.length], "int32"), { cache });
    const [, , width] = hidden.shape;
    const row = reshape(slice(hidden, [0, ids.length - 1, 0], [1, 1, width]), [1, width]);
    return reshape(linear(row, headOf(model)), [-1]) as Tensor1D;
  });
  const values = (await logits.data()) as Float32Array;
  logits.dispose();
  if (!values.every(Number.isFinite)) {
    throw new EngineError("generate: the model's logits are not finite numbers", "check the checkpoint");
  }
  return values;
}

/** How a token is sampled. */
export interface SampleOptions {
  /** divisor of the logits; 0 selects the most likely token. Default 1 */
  temperature?: number;
  /** number of the most likely tokens among which one is sampled. Default: all */
  topK?: number | undefined;
  /**
   * sum of the probabilities of the most likely tokens among which one is sampled (Holtzman et al. 2020). Default 1:
   * all
   */
  topP?: number;
}

/** @throws ShapeError that names a setting out of range */
function expectSampling({ temperature = 1, topK, topP = 1 }: SampleOptions): void {
  expectSetting("generate", { temperature }, "a number from 0", temperature >= 0 && Number.isFinite(temperature));
  expectSetting(
    "generate",
    { topK },
    "a whole number from 1",
    topK === undefined || (Number.isInteger(topK) && topK > 0),
  );
  expectSetting("generate", { topP }, "above 0 and at most 1", topP > 0 && topP <= 1);
}

/**
 * Samples a token.
 * @param logits float32 (vocabulary)
 * @param uniform returns the next random number in [0, 1)
 * @returns an index into `logits`. If logits are equal at the limit of top-k, those with lower indices are kept
 */
export function sampleToken(
  logits: Float32Array,
  { temperature = 1, topK, topP = 1 }: SampleOptions,
  uniform: () => number,
): number {
  const best = argmax(logits);
  if (temperature === 0 || topK === 1) return best;
  const most = logits[best] as number;
  const weight = (id: number) => Math.exp(((logits[id] as number) - most) / temperature);
  let ids = Array.from(logits.keys());
  if (topK !== undefined && topK < ids.length) ids = mostLikely(logits, topK);
  if (topP < 1) ids = nucleus(ids, { weight, topP });
  const total = ids.reduce((sum, id) => sum + weight(id), 0);
  let left = uniform() * total;
  for (const id of ids) {
    left -= weight(id);
    if (left < 0) return id;
  }
  return best;
}

/** The index of the largest value, the first one if there are several. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

function mostLikely(logits: Float32Array, count: number): number[] {
  const border = logits.slice().sort()[logits.length - count] as number;
  const above: number[] = [];
  const equal: number[] = [];
  for (const [id, value] of logits.entries()) {
    if (value > border) above.push(id);
    else if (value === border) equal.push(id);
  }
  return [...above, ...equal.slice(0, count - above.length)].sort((a, b) => a - b);
}

/**
 * The smallest set of tokens whose probabilities add up to at least topP. Only likely tokens are sorted, because
 * sorting a whole vocabulary takes longer than the forward pass.
 */
function nucleus(ids: number[], { weight, topP }: { weight: (id: number) => number; topP: number }): number[] {
  const weighed = ids.map((id) => ({ id, weight: weight(id) }));
  const wanted = topP * weighed.reduce((sum, each) => sum + each.weight, 0);
  for (let least = 1e-2; ; least /= 100) {
    const likely = weighed.filter((each) => each.weight >= least).sort((a, b) => b.weight - a.weight || a.id - b.id);
    let sum = 0;
    const last = likely.findIndex((each) => {
      sum += each.weight;
      return sum >= wanted;
    });
    if (last >= 0) return likely.slice(0, last + 1).map(({ id }) => id);
    if (likely.length === weighed.length || least === 0) return ids;
  }
}
