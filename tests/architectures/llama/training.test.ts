// Training and generation with Llama: a seed determines dropout, attention with dropout computes what the fused one does,
// steps of descent lower the loss in every structure, the cache has no repeated heads, and no tensor is left behind.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { attend } from "../../../workbench/architectures/parts/attention.ts";
import { keyValueCache } from "../../../workbench/architectures/parts/cache.ts";
import { dropper } from "../../../workbench/architectures/parts/dropout.ts";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { convert, planConversion } from "../../../workbench/compress/index.ts";
import { generateTokens, type LlamaConfig, type Model } from "../../../workbench/models/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { smallLlama } from "../../models/small-llama.ts";
import { ids, taken } from "../../models/tiny.ts";
import { descent, expectSeededDropout } from "../training.ts";

const logits = (model: Model<LlamaConfig>, dropoutSeed?: number) =>
  taken(tf.tidy(() => languageLogits(model as Model, ids(2, 9), { dropoutSeed })));

forEachEngine("Llama in training", (_, { name: engine }) => {
  test("a seed determines which attention weights drop, and a rate of 0 drops none", async () => {
    const model = smallLlama({ model_type: "mistral", sliding_window: 4, attention_dropout: 0.3 });
    const none = smallLlama({ model_type: "mistral", sliding_window: 4 });
    await expectSeededDropout(
      (seed) => logits(model, seed),
      (seed) => logits(none, seed),
    );
    for (const each of [model, none]) each.dispose();
  });

  test.each([undefined, 3])("attention in steps is the fused attention of grouped heads, window %p", async (window) => {
    const q = tf.randomNormal([2, 4, 5, 3], 0, 1, "float32", 1);
    const [k, v] = [2, 3].map((seed) => tf.randomNormal([2, 2, 7, 3], 0, 1, "float32", seed)) as [tf.Tensor, tf.Tensor];
    const run = (seed: number | undefined) =>
      taken(tf.tidy(() => attend(q, k, v, { causal: true, window, drop: dropper(seed), rate: 1e-9 })));
    const fused = await run(undefined);
    for (const [i, value] of (await run(1)).entries()) expect(value).toBeCloseTo(fused[i] as number, 5);
    tf.dispose([q, k, v]);
  });

  for (const structure of ["dense", "gblr", "lowrank", "monarch"]) {
    test.skipIf(engine === "cpu")(`a few steps of descent lower the loss of a ${structure} model`, async () => {
      const model = smallLlama({ model_type: "qwen3", attention_dropout: 0.05 });
      if (structure !== "dense") {
        const plan = await planConversion(model as Model, { structure: structure as "gblr", budget: 0.6 });
        for await (const _ of convert(model as Model, plan));
      }
      const { losses, counts } = await descent(model as Model, 0.05);
      expect(losses.at(-1)).toBeLessThan((losses[0] as number) - 0.3);
      expect(counts.at(-1)).toBe(counts[1] as number);
      model.dispose();
    });
  }
});

forEachEngine("Llama in generation", () => {
  test("the cache has the heads of keys only, and generation leaves no tensor behind", async () => {
    const model = smallLlama() as Model;
    const before = tf.memory().numTensors;
    const made: number[] = [];
    for await (const event of generateTokens(model, [3, 4, 5], { temperature: 0, endOfText: [] })) {
      if (event.kind === "token") made.push(event.id);
    }
    // One for each of its 16 positions, and the last that needs none.
    expect(made.length).toBe(16 - 3 + 1);
    expect(tf.memory().numTensors).toBe(before);
    const cache = keyValueCache({ capacity: 8 });
    const seen: number[][] = [];
    const { extend } = cache;
    const watched = Object.create(cache, {
      extend: {
        value: (block: number, added: Parameters<typeof extend>[1]) => {
          seen.push(added.k.shape, added.v.shape);
          return extend(block, added);
        },
      },
    });
    tf.tidy(() => languageLogits(model, ids(1, 5), { cache: watched }));
    expect(seen).toEqual(Array(4).fill([1, 2, 5, 8]));
    cache.dispose();
    model.dispose();
  });

  test("a text longer than the positions is refused", () => {
    const model = smallLlama() as Model;
    expect(() => tf.tidy(() => languageLogits(model, ids(1, 17)))).toThrow(
      "llama: ids must be at most 16 tokens, the model's positions, got 17",
    );
    model.dispose();
  });
});
