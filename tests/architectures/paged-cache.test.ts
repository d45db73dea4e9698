// The key/value cache of several sequences: in passes over stretches of any lengths, each token gets the logits that it has
// in a pass over its own sequence alone, also in pages that another sequence had before.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import {
  type CachedSequence,
  PAGE,
  type PagedCache,
  pagedCache,
} from "../../workbench/architectures/parts/paged-cache.ts";
import { createModel, gpt2, llama, type Model } from "../../workbench/models/index.ts";
import { forEachEngine } from "../engine/engines.ts";
import { livelier, TINY, taken } from "../models/tiny.ts";

const POSITIONS = 3 * PAGE;
const LLAMA = {
  ...{ vocab_size: 40, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2 },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: POSITIONS, head_dim: 8 },
};

const MODELS: Readonly<Record<string, () => Model>> = {
  gpt2: () => createModel(gpt2, { ...TINY, n_positions: POSITIONS }, { seed: 1 }) as unknown as Model,
  "llama with grouped queries": () => made({ model_type: "llama" }),
  "mistral with a sliding window": () => made({ model_type: "mistral", sliding_window: 50 }),
  "llama with dynamic rotary positions": () =>
    made({ model_type: "llama", rope_scaling: { rope_type: "dynamic", factor: 2 }, max_position_embeddings: 60 }),
};
const made = (config: Record<string, unknown>) =>
  createModel(llama, { ...LLAMA, ...config }, { seed: 1 }) as unknown as Model;

interface Growing {
  ids: number[];
  cached: CachedSequence;
  logits: number[];
}

const sequence = (cache: PagedCache, length: number, salt: number): Growing => ({
  ids: Array.from({ length }, (_, i) => (7 * i + 11 * salt + 3) % 40),
  cached: cache.open(),
  logits: [],
});

/** One pass over the next tokens of some sequences. */
async function step(model: Model, cache: PagedCache, parts: readonly [Growing, tokens: number][]): Promise<void> {
  const ids = parts.flatMap(([{ ids, cached }, tokens]) => ids.slice(cached.length, cached.length + tokens));
  for (const [{ cached }, tokens] of parts) expect(cached.reserve(cached.length + tokens)).toBe(true);
  const logits = tf.tidy(() => {
    const passes = parts.map(([{ cached, ids }, tokens]) => ({ sequence: cached, tokens, length: ids.length }));
    return languageLogits(model, tf.tensor2d([ids], undefined, "int32"), { cache: cache.pass(passes) });
  });
  const values = await taken(logits);
  let at = 0;
  for (const [growing, tokens] of parts) {
    for (const value of values.subarray(at, at + 40 * tokens)) growing.logits.push(value);
    at += 40 * tokens;
  }
}

async function expectAlone(model: Model, { ids, logits }: Growing): Promise<void> {
  const alone = await taken(tf.tidy(() => languageLogits(model, tf.tensor2d([ids], undefined, "int32"))));
  expect(logits.length).toBe(alone.length);
  let most = 0;
  for (const [i, value] of alone.entries()) most = Math.max(most, Math.abs(value - (logits[i] as number)));
  expect(most).toBeLessThan(1e-4);
}

forEachEngine("a cache of pages", (_, { name }) => {
  test.skipIf(name === "cpu").each(Object.keys(MODELS))("gives each sequence its own logits: %s", async (which) => {
    const model = livelier((MODELS[which] as () => Model)());
    const before = tf.memory().numTensors;
    const cache = pagedCache({ tokens: 5 * PAGE });
    const [first, second, third] = [sequence(cache, 50, 1), sequence(cache, 53, 2), sequence(cache, 9, 3)];
    await step(model, cache, [[first, 40]]);
    await step(model, cache, [
      [first, 1],
      [third, 1],
      [second, 30],
    ]);
    await step(model, cache, [
      [third, 6],
      [second, 22],
    ]);
    for (let i = 0; i < 2; i++) {
      await step(model, cache, [
        [first, 1],
        [third, 1],
      ]);
    }
    await step(model, cache, [
      [second, 1],
      [first, 7],
    ]);
    for (const growing of [first, second, third]) await expectAlone(model, growing);

    for (const { cached } of [first, second, third]) cached.release();
    expect(cache.free).toBe(5);
    const next = sequence(cache, 58, 4);
    await step(model, cache, [[next, 57]]);
    await step(model, cache, [[next, 1]]);
    await expectAlone(model, next);
    cache.dispose();
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  test.skipIf(name === "cpu")("goes on over the end of a page", async () => {
    const model = livelier((MODELS["llama with grouped queries"] as () => Model)());
    const cache = pagedCache({ tokens: 5 * PAGE });
    const [first, second] = [sequence(cache, 2 * PAGE + 2, 1), sequence(cache, PAGE + 1, 2)];
    await step(model, cache, [[second, PAGE - 1]]);
    await step(model, cache, [
      [second, 1],
      [first, 2 * PAGE - 1],
    ]);
    await step(model, cache, [
      [second, 1],
      [first, 1],
    ]);
    await step(model, cache, [[first, 2]]);
    for (const growing of [first, second]) await expectAlone(model, growing);
    cache.dispose();
    model.dispose();
  });

  test("gives no more pages than it has", () => {
    const cache = pagedCache({ tokens: 2 * PAGE - 1 });
    expect(cache.pages).toBe(2);
    const [first, second] = [cache.open(), cache.open()];
    expect(first.reserve(PAGE + 1)).toBe(true);
    expect(cache.free).toBe(0);
    expect(second.reserve(1)).toBe(false);
    expect(() => cache.pass([{ sequence: second, tokens: 1 }])).toThrow("reserve them");
    first.release();
    expect(second.reserve(1)).toBe(true);
    expect(cache.free).toBe(1);
    cache.dispose();
  });
});
