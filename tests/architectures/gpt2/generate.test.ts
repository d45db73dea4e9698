// Generation: the cached steps give the logits of the whole sequence, sampling keeps to its settings, and every end is
// named.

import { describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { keyValueCache } from "../../../workbench/architectures/parts/cache.ts";
import { sampleToken } from "../../../workbench/architectures/parts/generate.ts";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { seededUniform } from "../../../workbench/engine/core/random.ts";
import {
  type GenerateEvent,
  type GenerateOptions,
  type Gpt2Config,
  generateTokens,
  type Model,
} from "../../../workbench/models/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { ids, livelier, taken, tinyGpt2 } from "../../models/tiny.ts";

async function all(model: Model<Gpt2Config>, prompt: number[], options: GenerateOptions): Promise<GenerateEvent[]> {
  return Array.fromAsync(generateTokens(model, prompt, options));
}

const tokensOf = (events: GenerateEvent[]) => events.flatMap((event) => (event.kind === "token" ? [event.id] : []));

forEachEngine("generation", () => {
  test("the cache gives the logits of the whole sequence, however it is fed", async () => {
    const model = livelier(tinyGpt2());
    const whole = await taken(languageLogits(model, ids(1, 12)));
    const all = (await ids(1, 12).data()) as Int32Array;
    for (const parts of [[12], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], [5, 1, 4, 2]]) {
      const before = tf.memory().numTensors;
      const cache = keyValueCache({ capacity: 12 });
      const found: number[] = [];
      for (const count of parts) {
        const part = tf.tensor2d(all.subarray(cache.length, cache.length + count), [1, count], "int32");
        found.push(...(await taken(languageLogits(model, part, { cache }))));
        part.dispose();
      }
      cache.dispose();
      expect(tf.memory().numTensors).toBe(before);
      expect(found.length).toBe(whole.length);
      expect(Math.max(...found.map((value, i) => Math.abs(value - (whole[i] as number))))).toBeLessThan(1e-4);
    }
    model.dispose();
  });

  test("at temperature 0 each token is the most likely one after those before", async () => {
    const model = livelier(tinyGpt2());
    const events = await all(model, [3, 1], { temperature: 0, tokens: 6 });
    expect(events.at(-1)).toEqual({ kind: "stopped", reason: "tokens", tokens: 6 });
    const sequence = [3, 1];
    for (const id of tokensOf(events)) {
      const input = tf.tensor2d(sequence, [1, sequence.length], "int32");
      const logits = (await taken(languageLogits(model, input))).slice(-40);
      expect(logits[id]).toBe(Math.max(...logits));
      sequence.push(id);
      input.dispose();
    }
    model.dispose();
  });

  test("the same seed gives the same text, another one another, and no tensor is left", async () => {
    const model = livelier(tinyGpt2());
    const before = tf.memory().numTensors;
    const [a, b, c] = [
      await all(model, [1], { seed: 4 }),
      await all(model, [1], { seed: 4 }),
      await all(model, [1], {}),
    ];
    expect(a).toEqual(b);
    expect(tokensOf(a)).not.toEqual(tokensOf(c));
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  test("it stops at the end of the positions, at the end of the text, and at a signal", async () => {
    const model = livelier(tinyGpt2({ eos_token_id: 7 }));
    const full = await all(model, [1, 2, 3], { endOfText: [] });
    expect(full.at(-1)).toEqual({ kind: "stopped", reason: "positions", tokens: 10 });
    const first = tokensOf(await all(model, [1, 2], { temperature: 0, tokens: 1, endOfText: [] }));
    expect(await all(model, [1, 2], { temperature: 0, endOfText: first })).toEqual([
      { kind: "stopped", reason: "end of text", tokens: 0 },
    ]);
    const before = tf.memory().numTensors;
    const controller = new AbortController();
    const started = generateTokens(model, [], { signal: controller.signal, endOfText: [] });
    expect((await started.next()).value).toMatchObject({ kind: "token" });
    controller.abort();
    await expect(started.next()).rejects.toThrow(/abort/i);
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  test("any token of a list ends the text, the one that comes first", async () => {
    const model = livelier(tinyGpt2());
    const free = tokensOf(await all(model, [1, 2], { seed: 5, tokens: 8, endOfText: [] }));
    const [a, b] = [free[5], free.find((id, i) => i > 1 && free.indexOf(id) === i && id !== free[5])] as [
      number,
      number,
    ];
    const first = Math.min(free.indexOf(a), free.indexOf(b));
    for (const list of [
      [a, b],
      [b, a],
    ]) {
      const listed = livelier(tinyGpt2({ eos_token_id: list }));
      const events = await all(listed, [1, 2], { seed: 5, tokens: 8 });
      expect(tokensOf(events)).toEqual(free.slice(0, first));
      expect(events.at(-1)).toEqual({ kind: "stopped", reason: "end of text", tokens: first });
      listed.dispose();
    }
    model.dispose();
  });

  test("what cannot be meant is refused in one line", async () => {
    const model = tinyGpt2();
    const refused = (prompt: number[], options: GenerateOptions, message: RegExp) =>
      expect(all(model, prompt, options)).rejects.toThrow(message);
    await refused(Array(13).fill(1), {}, /prompt must be from 1 to 12 tokens, the model's positions, got 13/);
    await refused([], {}, /got 0/);
    await refused([40], {}, /ids from 0 to 39, the vocabulary, got 40/);
    await refused([1], { temperature: -1 }, /temperature must be a number from 0, got -1/);
    await refused([1], { topK: 0 }, /topK must be a whole number from 1, got 0/);
    await refused([1], { topP: 0 }, /topP must be above 0 and at most 1, got 0/);
    model.dispose();
  });
});

describe("sampling", () => {
  const logits = fc.float32Array({ minLength: 2, maxLength: 60, min: -20, max: 20, noNaN: true });

  test("top-k and top-p choose among the tokens that their definitions leave", () => {
    fc.assert(
      fc.property(
        logits,
        fc.integer({ min: 1, max: 60 }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        fc.nat(),
        (values, topK, topP, seed) => {
          const temperature = 0.7;
          const at = (each: number) => values[each] as number;
          const id = sampleToken(values, { temperature, topK, topP }, seededUniform(seed));
          const byLogit = [...values.keys()].sort((a, b) => at(b) - at(a) || a - b).slice(0, topK);
          const weight = (each: number) => Math.exp((at(each) - at(byLogit[0] as number)) / temperature);
          // Logits that differ by less than exp can tell weigh the same.
          const order = byLogit.sort((a, b) => weight(b) - weight(a) || a - b);
          const weights = order.map(weight);
          const total = weights.reduce((sum, weight) => sum + weight, 0);
          // A token is left when those before it hold less than the share; rounding decides at the border.
          const before = weights.slice(0, order.indexOf(id)).reduce((sum, weight) => sum + weight, 0);
          expect(order).toContain(id);
          expect(before / total).toBeLessThan(topP + 1e-9);
        },
      ),
    );
  });

  test("tokens come as often as the softmax says", () => {
    const values = Float32Array.of(1, 2, 0, -1);
    const uniform = seededUniform(11);
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 20000; i++) {
      const id = sampleToken(values, { temperature: 2 }, uniform);
      counts[id] = (counts[id] as number) + 1;
    }
    const weights = [...values].map((value) => Math.exp(value / 2));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (const [id, weight] of weights.entries()) {
      expect(Math.abs((counts[id] as number) / 20000 - weight / total)).toBeLessThan(0.015);
    }
  });
});
