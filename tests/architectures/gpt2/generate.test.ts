// Generation: the cached steps give the logits of the whole sequence, a session gives the texts that single runs give,
// and every end is named.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { keyValueCache } from "../../../workbench/architectures/parts/cache.ts";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import {
  type GenerateEvent,
  type GenerateOptions,
  type Gpt2Config,
  generateTokens,
  generationSession,
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

  test("a session continues from what its prompts have in common, with the tokens of single runs", async () => {
    const model = livelier(tinyGpt2({ n_positions: 600 }));
    const before = tf.memory().numTensors;
    const session = generationSession(model);
    const settings = { temperature: 0, endOfText: [] };
    const first = Array.from({ length: 200 }, (_, i) => (i * 7) % 40);
    // The second text fills more than the memory that is allocated first, and the third one begins as it does.
    for (const [prompt, tokens] of [
      [first, 3],
      [[...first, 4, 5, 6, 7, 8], 120],
      [[...first, 4, 5, 9, 1], 6],
      [[...first, 4, 5, 9, 1], 6],
      [[9, 2], 6],
    ] as const) {
      const events = await Array.fromAsync(session.generate(prompt, { ...settings, tokens }));
      expect(events).toEqual(await all(model, [...prompt], { ...settings, tokens }));
      expect(session.cached).toBe(prompt.length + tokens - 1);
    }
    session.dispose();
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  test("a session goes on after a text that was stopped at any point", async () => {
    const model = livelier(tinyGpt2());
    const session = generationSession(model);
    const controller = new AbortController();
    const started = session.generate([1, 2, 3], { signal: controller.signal, endOfText: [] });
    const { value } = await started.next();
    controller.abort();
    await expect(started.next()).rejects.toThrow(/abort/i);
    expect(value).toMatchObject({ kind: "token" });
    const settings = { temperature: 0, endOfText: [], tokens: 4 };
    const events = await Array.fromAsync(session.generate([1, 2, 3, 5], settings));
    expect(events).toEqual(await all(model, [1, 2, 3, 5], settings));
    session.dispose();
    model.dispose();
  });

  test("it stops after the token at which a function says so", async () => {
    const model = livelier(tinyGpt2());
    const seen: number[] = [];
    const stop = (id: number) => seen.push(id) === 3;
    const events = await all(model, [1, 2], { seed: 5, endOfText: [], stop });
    expect(events.at(-1)).toEqual({ kind: "stopped", reason: "stop", tokens: 3 });
    expect(tokensOf(events)).toEqual(seen);
    model.dispose();
  });

  test("settings that rule out all tokens are refused, and so are biases of tokens that do not exist", async () => {
    const model = tinyGpt2();
    const none = Array.from({ length: 40 }, (_, id) => id);
    await expect(all(model, [1], { suppressTokens: none })).rejects.toThrow(/the settings rule out all tokens/);
    await expect(all(model, [1], { suppressTokens: none, temperature: 0 })).rejects.toThrow(/rule out all tokens/);
    await expect(all(model, [1], { badWordsIds: [[3, 40]] })).rejects.toThrow(
      /ids from 0 to 39, the vocabulary, got 40/,
    );
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
    await refused([1], { topP: 1.5 }, /topP must be from 0 to 1, got 1.5/);
    model.dispose();
  });
});
