// Text from GPT-2, one token after the other, each a step over the key/value cache. Works on ids; what they spell is
// for others to know.

import { reshape, slice, type Tensor1D, tensor2d, tidy } from "@tensorflow/tfjs-core";
import { EngineError, ShapeError } from "../../engine/core/errors.ts";
import { linear } from "../../engine/ops/index.ts";
import { expectSetting } from "../../engine/ops/operands.ts";
import { seededUniform } from "../../gblr/init/seeded-uniform.ts";
import { type Gpt2, gpt2Hidden, headOf } from "../gpt2/forward.ts";
import { type KeyValueCache, keyValueCache } from "./cache.ts";
import { expectSampling, type SampleOptions, sampleToken } from "./sample.ts";

export interface GenerateOptions extends SampleOptions {
  /** tokens to add, at most. Default: until the text or the positions end */
  tokens?: number;
  /** same seed, same text on the same engine. Default 0 */
  seed?: number;
  /** tokens of which each ends the text; with an empty list nothing does. Default the config's */
  endOfText?: readonly number[] | undefined;
  signal?: AbortSignal;
}

export type GenerateEvent =
  | { kind: "token"; id: number }
  | {
      kind: "stopped";
      /** as many as asked, the model ended the text, or it has no position for another token */
      reason: "tokens" | "end of text" | "positions";
      tokens: number;
    };

/**
 * @param prompt ids; with none the text starts after the end of another
 * @throws ShapeError when the prompt is longer than the model's positions or has an id outside the vocabulary, or a
 * setting makes no sense
 */
export async function* gpt2Generate(
  model: Gpt2,
  prompt: ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<GenerateEvent> {
  const { positions } = model.config;
  const { tokens = Number.POSITIVE_INFINITY, seed = 0, signal, endOfText = model.config.endOfText } = options;
  const start = checkedPrompt(model, prompt);
  expectSampling(options);
  expectSetting("generate", { tokens }, "at least 0", tokens >= 0);
  const uniform = seededUniform(seed);
  // The last token that is chosen needs no position: nothing is asked of it.
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

function checkedPrompt({ config }: Gpt2, prompt: ArrayLike<number>): number[] {
  const { positions, vocabulary, endOfText } = config;
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

/** Logits of the token after `ids`, which are added to the cache. */
async function nextLogits(model: Gpt2, ids: number[], cache: KeyValueCache): Promise<Float32Array> {
  const logits = tidy(() => {
    const hidden = gpt2Hidden(model, tensor2d(ids, [1, ids.length], "int32"), { cache });
    const width = model.config.width;
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
