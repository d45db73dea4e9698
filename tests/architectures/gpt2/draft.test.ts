// Generation with a draft: greedy texts are those of the model alone, sampled ones have its distribution, and each end of a
// text is the same, whatever the draft proposes.

import { describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { judged } from "../../../workbench/architectures/parts/sampling/speculative.ts";
import { ShapeError } from "../../../workbench/engine/core/errors.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { seededUniform } from "../../../workbench/engine/core/random.ts";
import {
  type Draft,
  type GenerateEvent,
  type GenerateOptions,
  type Gpt2Config,
  generateTokens,
  generationSession,
  type Model,
} from "../../../workbench/models/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { livelier, structured, taken, tinyGpt2 } from "../../models/tiny.ts";

const made = (model: Model<Gpt2Config>, options: GenerateOptions & { draft?: Draft }, prompt = [3, 1]) =>
  Array.fromAsync(generateTokens(model, prompt, options));
const tokensOf = (events: GenerateEvent[]) => events.flatMap((event) => (event.kind === "token" ? [event.id] : []));
const endOf = (events: GenerateEvent[]) => events.at(-1) as Extract<GenerateEvent, { kind: "stopped" }>;

/** The model with a layer in another form, which proposes many but not all of its tokens; and one of another seed. */
async function drafts() {
  const near = await structured(livelier(tinyGpt2()), ["h.0.mlp.c_fc"], "gblr");
  return [near, livelier(tinyGpt2({ n_layer: 1 }, 4), 5), livelier(tinyGpt2())];
}

/** Settings that choose by what is before a token, and rule tokens out. */
const SETTINGS: GenerateOptions[] = [
  {},
  { repetitionPenalty: 1.8 },
  { noRepeatNgramSize: 2, minTokens: 4, suppressTokens: [7, 9] },
];

forEachEngine("generation with a draft", () => {
  test("is greedy as the model alone, and leaves no tensor behind", async () => {
    const model = livelier(tinyGpt2());
    for (const draft of await drafts()) {
      for (const settings of SETTINGS) {
        const options = { temperature: 0, ...settings };
        const alone = tokensOf(await made(model, options));
        expect(alone.length).toBe(11);
        // Some engines keep what a structure needs at its first use.
        await made(draft, options);
        const before = tf.memory().numTensors;
        for (const tokens of [1, 3, 20]) {
          const events = await made(model, { ...options, draft: { model: draft, tokens } });
          expect(tokensOf(events)).toEqual(alone);
          expect(endOf(events)).toMatchObject({ reason: "positions", tokens: 11 });
          const { drafted, kept } = endOf(events).draft as { drafted: number; kept: number };
          expect(kept).toBeLessThanOrEqual(drafted);
        }
        expect(tf.memory().numTensors).toBe(before);
      }
      draft.dispose();
    }
    model.dispose();
  });
});

describe("on any engine", () => {
  test("a draft that is the model itself has all its tokens kept, sampled too", async () => {
    await openEngine({ engine: "cpu" });
    const [model, draft] = [livelier(tinyGpt2()), livelier(tinyGpt2())];
    for (const settings of [{ temperature: 0 }, { seed: 2 }, { seed: 3, topK: 5, temperature: 0.7 }]) {
      const { draft: counts } = endOf(await made(model, { ...settings, draft: { model: draft } }));
      // 11 tokens: two rounds of three proposed tokens and one more, and one of two and one more.
      expect(counts).toEqual({ drafted: 8, kept: 8 });
    }
  });

  test("sampled tokens have the model's probabilities, not those of the draft", async () => {
    await openEngine({ engine: "wasm" });
    const settings = { temperature: 0.8, topK: 6, tokens: 2 };
    const sizes = { vocab_size: 12, n_layer: 1 };
    const [model, draft] = [livelier(tinyGpt2(sizes)), livelier(tinyGpt2(sizes, 4), 5)];
    const probabilities = async (sequence: number[]) => {
      const input = tf.tensor2d(sequence, [1, sequence.length], "int32");
      const logits = Array.from((await taken(languageLogits(model, input))).slice(-12), (value) => value / 0.8);
      const least = logits.toSorted((a, b) => b - a)[5] as number;
      const weights = logits.map((value) => (value >= least ? Math.exp(value - Math.max(...logits)) : 0));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      return weights.map((weight) => weight / total);
    };
    const count = 1500;
    const seen = new Map<string, number>();
    for (let seed = 0; seed < count; seed++) {
      const key = tokensOf(await made(model, { ...settings, seed, draft: { model: draft } }, [3])).join();
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    const first = await probabilities([3]);
    let [deviation, cells] = [0, 0];
    for (const [a, p] of first.entries()) {
      for (const [b, q] of p > 0 ? (await probabilities([3, a])).entries() : []) {
        const expected = count * p * q;
        const found = seen.get(`${a},${b}`) ?? 0;
        if (p * q === 0) expect(found).toBe(0);
        if (expected < 5) continue;
        deviation += (found - expected) ** 2 / expected;
        cells++;
      }
    }
    // χ² of so many cells is beyond this once in some thousand times, and the seeds are fixed.
    expect(cells).toBeGreaterThan(10);
    expect(deviation).toBeLessThan(cells + 3.5 * Math.sqrt(2 * cells));
  }, 60_000);

  test("a text ends in the midst of what the draft proposes, and the session goes on", async () => {
    await openEngine({ engine: "cpu" });
    const [model, draft] = [livelier(tinyGpt2()), livelier(tinyGpt2())];
    const alone = tokensOf(await made(model, { temperature: 0 }));
    const session = generationSession(model, { draft: { model: draft, tokens: 5 } });
    for (const [at, id] of alone.slice(0, 4).entries()) {
      const before = alone.slice(0, alone.indexOf(id));
      const end = await Array.fromAsync(session.generate([3, 1], { temperature: 0, endOfText: [id] }));
      expect(tokensOf(end)).toEqual(before);
      expect(endOf(end)).toMatchObject({ reason: "end of text", tokens: before.length });
      const stop = await Array.fromAsync(session.generate([3, 1], { temperature: 0, stop: (token) => token === id }));
      expect(tokensOf(stop)).toEqual([...before, id]);
      const some = await Array.fromAsync(session.generate([3, 1], { temperature: 0, tokens: at }));
      expect(tokensOf(some)).toEqual(alone.slice(0, at));
    }
    session.dispose();
  });

  test("a draft with fewer positions proposes as long as it has some", async () => {
    await openEngine({ engine: "cpu" });
    const [model, draft] = [livelier(tinyGpt2()), livelier(tinyGpt2({ n_positions: 6 }))];
    const alone = tokensOf(await made(model, { temperature: 0 }));
    const events = await made(model, { temperature: 0, draft: { model: draft } });
    expect(tokensOf(events)).toEqual(alone);
    expect(endOf(events).draft?.drafted).toBeGreaterThan(0);
    const long = await made(model, { temperature: 0, draft: { model: draft } }, [3, 1, 4, 1, 5, 9, 2]);
    expect(endOf(long).draft?.drafted).toBe(0);
  });

  test("a draft of another vocabulary, or of no token at a time, is refused", async () => {
    await openEngine({ engine: "cpu" });
    const [model, draft] = [livelier(tinyGpt2()), livelier(tinyGpt2({ vocab_size: 41 }))];
    expect(() => generationSession(model, { draft: { model: draft } })).toThrow(
      new ShapeError("generate: the draft must have the vocabulary of the model, 40 tokens, got 41"),
    );
    expect(() => generationSession(model, { draft: { model, tokens: 0 } })).toThrow(
      "a whole number of at least 1, got 0",
    );
  });
});

test("judged tokens have the distribution of the model, by enumeration of what the draft can propose", () => {
  const p = [
    [0.5, 0.3, 0.2, 0],
    [0.1, 0.2, 0.3, 0.4],
  ].map((row) => Float64Array.from(row)) as [Float64Array, Float64Array];
  const q = [
    [0.1, 0.6, 0.1, 0.2],
    [0.4, 0.4, 0.2, 0],
  ].map((row) => Float64Array.from(row)) as [Float64Array, Float64Array];
  // A fine grid of random numbers stands for the integral over them.
  const steps = 200;
  const grid = (i: number) => (i + 0.5) / steps;
  const first = new Float64Array(4);
  for (let id = 0; id < 4; id++) {
    for (let i = 0; i < steps; i++) {
      for (let j = 0; j < steps; j++) {
        const numbers = [grid(i), grid(j)];
        const [token] = judged({
          drafted: [id],
          draft: q,
          model: (k) => p[k] as Float64Array,
          uniform: () => numbers.shift() ?? 0.5,
        });
        (first[token as number] as number) += (q[0][id] as number) / steps ** 2;
      }
    }
  }
  for (let id = 0; id < 4; id++) expect(Math.abs((first[id] as number) - (p[0][id] as number))).toBeLessThan(0.01);
});

test("a token that the model would never choose is never kept, and one that it would choose more often always is", () => {
  const uniform = seededUniform(1);
  for (let i = 0; i < 200; i++) {
    const [p, q] = [Float64Array.of(0, 0.25, 0.75), Float64Array.of(0.5, 0.25, 0.25)];
    const ids = (id: number) => judged({ drafted: [id], draft: [q], model: () => p, uniform });
    expect(ids(0)).toEqual([2]);
    expect(ids(1)[0]).toBe(1);
    expect(ids(2)[0]).toBe(2);
  }
});
