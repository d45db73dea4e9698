// Perplexity against log-softmax in float64, token by token, on every engine; each token counted once whatever the
// windows; and against PyTorch's figure for a whole text.

import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { rowsOf } from "../../workbench/data/dataset/rows.ts";
import { type TokenFile, tokenWindows } from "../../workbench/data/index.ts";
import { EngineError } from "../../workbench/engine/core/errors.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { seededUniform } from "../../workbench/engine/core/random.ts";
import { type Perplexity, type PerplexityOptions, perplexity, perUnit } from "../../workbench/evaluate/perplexity.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import type { Gpt2Config, Model } from "../../workbench/models/index.ts";
import { GOLDEN, GPT2, HUB_IS_HERE, WIKITEXT } from "../data/hub-folders.ts";
import { tokensOf } from "../data/text-set.ts";
import { ENGINES, forEachEngine } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { livelier, structured, TINY, taken, tinyGpt2 } from "../models/tiny.ts";

const folder = temporaryFolder();

/** Ids as a file would have them. */
function tokens(length: number, vocabSize: number = TINY.vocab_size): TokenFile {
  const uniform = seededUniform(9);
  const ids = Int32Array.from({ length }, () => Math.floor(uniform() * vocabSize));
  const counts = { rows: 1, words: 0, bytes: 0 };
  const read = async (start: number, count: number) => ids.slice(start, start + count);
  return { path: "", length, vocabSize, counts, read, close: async () => {} };
}

async function scored(model: Model<Gpt2Config>, options: PerplexityOptions): Promise<Perplexity> {
  for await (const event of perplexity(model, options)) if (event.kind === "perplexity") return event;
  throw new Error("no result");
}

/** −log p of each target of a window, in float64 but for the logits. */
async function losses(model: Model<Gpt2Config>, window: Int32Array): Promise<number[]> {
  const context = window.length - 1;
  const input = tf.tensor2d(window.subarray(0, context), [1, context], "int32");
  const logits = await taken(languageLogits(model, input));
  input.dispose();
  return Array.from(window.subarray(1), (target, t) => {
    const row = logits.subarray(t * TINY.vocab_size, (t + 1) * TINY.vocab_size);
    const most = Math.max(...row);
    return most + Math.log(row.reduce((sum, value) => sum + Math.exp(value - most), 0)) - (row[target] as number);
  });
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

forEachEngine("perplexity", () => {
  test("is that of log-softmax in float64, dense and compressed, however windows fall into batches", async () => {
    for (const structure of ["dense", "gblr", "lowrank"]) {
      const model = livelier(tinyGpt2());
      if (structure !== "dense") await structured(model, ["h.0.mlp.c_fc", "h.1.attn.c_attn"], structure);
      const windows = tokenWindows(tokens(60), { context: 11 });
      const each: number[] = [];
      for (let i = 0; i < windows.length; i++) each.push(...(await losses(model, await windows.read(i))));
      const before = tf.memory().numTensors;
      const nll = sum(each) / 59;
      for (const batch of [1, 2, 5, undefined]) {
        const result = await scored(model, { windows, ...(batch !== undefined && { batch }) });
        expect(result).toMatchObject({ tokens: 59, windows: 6, context: 11, stride: 11, leftOut: 0 });
        expect(Math.abs(result.nll - nll)).toBeLessThan(2e-5 * nll);
        expect(result.perplexity).toBe(Math.exp(result.nll));
      }
      expect(tf.memory().numTensors).toBe(before);
      model.dispose();
    }
  });

  test("of windows that overlap scores each token once, with all the window before it", async () => {
    const model = livelier(tinyGpt2());
    const file = tokens(53);
    for (const stride of [1, 4, 10, 12]) {
      const windows = tokenWindows(file, { context: 12, stride });
      const each = new Map<number, number>();
      for (let i = 0; i < windows.length; i++) {
        for (const [t, loss] of (await losses(model, await windows.read(i))).entries()) {
          const at = i * stride + t + 1;
          if (!each.has(at)) each.set(at, loss);
        }
      }
      const result = await scored(model, { windows });
      expect(result.tokens).toBe(each.size);
      expect(Math.abs(result.nll - sum([...each.values()]) / each.size)).toBeLessThan(1e-4);
    }
    model.dispose();
  });

  test("with a value that is not finite is an error that names the window", async () => {
    const model = livelier(tinyGpt2({ tie_word_embeddings: false }));
    const before = tf.memory().numTensors;
    // Only a window that has the token 7 sees it, as the head is another table.
    const table = model.parameters.get("wte.weight") as tf.Variable;
    const values = (await table.data()).slice() as Float32Array;
    values.fill(Number.NaN, 7 * TINY.n_embd, 8 * TINY.n_embd);
    tf.tidy(() => table.assign(tf.tensor2d(values, table.shape as [number, number])));
    const ids = new Int32Array(40).fill(3);
    ids[27] = 7;
    const file = { ...tokens(40), read: async (start: number, count: number) => ids.slice(start, start + count) };
    const windows = tokenWindows(file, { context: 10 });
    const found = await scored(model, { windows }).catch((error: unknown) => error);
    expect(found).toBeInstanceOf(EngineError);
    expect((found as Error).message).toMatch(/^the loss of window 2 is NaN at its scored target \d+[^\n]*$/);
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });
});

describe("on any engine", () => {
  beforeAll(async () => {
    await openEngine();
  });

  test("the first windows have the perplexity of a shorter text", async () => {
    const model = livelier(tinyGpt2());
    const first = await scored(model, { windows: tokenWindows(tokens(60), { context: 11 }), limit: 2 });
    const short = tokens(60)
      .read(0, 23)
      .then((ids) => ({
        ...tokens(23),
        read: async (start: number, count: number) => ids.slice(start, start + count),
      }));
    const whole = await scored(model, { windows: tokenWindows(await short, { context: 11 }) });
    expect([first.nll, first.tokens, first.windows]).toEqual([whole.nll, 22, 2]);
    model.dispose();
  });

  test("a text shorter than a window is scored whole, and so is the end of a longer one", async () => {
    const model = livelier(tinyGpt2());
    for (const [length, windows] of [
      [7, 1],
      [24, 2],
    ] as const) {
      const cut = tokenWindows(tokens(length), { context: 12 });
      const each: number[] = [];
      for (let i = 0; i < cut.length; i++) each.push(...(await losses(model, await cut.read(i))));
      const result = await scored(model, { windows: cut });
      expect(result).toMatchObject({ tokens: length - 1, windows, leftOut: 0 });
      expect(Math.abs(result.nll - sum(each) / (length - 1))).toBeLessThan(1e-5);
    }
    model.dispose();
  });

  test("a text without a window is an error that says how long one is", async () => {
    const model = tinyGpt2();
    const whole = tokenWindows(tokens(12), { context: 12, whole: true });
    await expect(scored(model, { windows: whole })).rejects.toThrow(
      "the text has 12 tokens, which is less than one whole window of 12; score shorter windows too (without --whole-windows), or give a shorter context or more text",
    );
    await expect(scored(model, { windows: tokenWindows(tokens(1), { context: 12 }) })).rejects.toThrow(
      "the text has no token to predict; give more text",
    );
    model.dispose();
  });

  test("a text of another tokenizer is an error that names the token", async () => {
    const model = tinyGpt2();
    const ids = new Int32Array(40).fill(3);
    ids[27] = TINY.vocab_size;
    const file = { ...tokens(40), read: async (start: number, count: number) => ids.slice(start, start + count) };
    await expect(scored(model, { windows: tokenWindows(file, { context: 10 }) })).rejects.toThrow(
      "window 2 has token id 40, but the vocabulary of the model has 40 tokens; tokenize the text with the model's own tokenizer",
    );
    model.dispose();
  });

  test("a signal ends it between two batches", async () => {
    const model = tinyGpt2();
    const before = tf.memory().numTensors;
    const controller = new AbortController();
    const windows = tokenWindows(tokens(60), { context: 11 });
    let seen = 0;
    const run = async () => {
      for await (const _ of perplexity(model, { windows, batch: 2, signal: controller.signal })) {
        seen++;
        controller.abort(new Error("enough"));
      }
    };
    await expect(run()).rejects.toThrow("enough");
    expect([seen, tf.memory().numTensors]).toEqual([1, before]);
    model.dispose();
  });
});

test("perplexity per word and per byte is the same whole over fewer or more parts", () => {
  const score = { nll: 2, tokens: 30 } as Perplexity;
  const { perplexityPerWord, perplexityPerByte, bitsPerByte } = perUnit(score, { words: 20, bytes: 120 });
  expect(perplexityPerWord).toBeCloseTo(Math.exp(3), 10);
  expect(perplexityPerByte).toBeCloseTo(Math.exp(0.5), 10);
  expect(2 ** bitsPerByte).toBeCloseTo(perplexityPerByte, 10);
});

const TORCH = ENGINES.find(({ name }) => name === "torch");

describe.skipIf(!HUB_IS_HERE || !TORCH)("WikiText's whole test text", () => {
  test("has the perplexity that PyTorch gives it, to 1e-4", async () => {
    await openEngine(TORCH?.options);
    const at = folder("wiki");
    mkdirSync(at);
    const rows: string[] = [];
    const file = join(WIKITEXT, "wikitext-mini-v1/test-00000-of-00001.parquet");
    for await (const { texts } of rowsOf(file, "text")) rows.push(...texts);
    // The data set stores the raw file's lines of one space as empty rows.
    writeFileSync(join(at, "test.txt"), rows.map((row) => row || " \n").join(""));
    const golden = JSON.parse(readFileSync(join(GOLDEN, "gpt2-mini.json"), "utf8"));
    const options = { dataset: at, split: "test", tokenizer: GPT2, cache: folder("wiki-cache") };
    const { tokens } = await tokensOf(options);
    const model = (await loadModelNow(GPT2)) as Model<Gpt2Config>;
    // PyTorch's figure is of whole windows, as published tables are.
    const windows = tokenWindows(tokens, { context: golden.context, whole: true });
    const result = await scored(model, { windows });
    expect(result.leftOut).toBe(tokens.length - 1 - golden.tokens);
    expect([result.tokens, result.windows]).toEqual([golden.tokens, golden.windows]);
    expect(Math.abs(result.perplexity - golden.perplexity)).toBeLessThan(1e-4 * golden.perplexity);
    expect(Math.abs(result.nll - golden.nll)).toBeLessThan(1e-5);
    await tokens.close();
    model.dispose();
  }, 600_000);
});
