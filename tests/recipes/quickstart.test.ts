// What the quickstart is made of: its stories, its tokenizer, its repositories. The tour itself is `npm start`.

import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import {
  makeRepositories,
  makeStories,
  STORIES,
  UNTRAINED,
  wordsOf,
  writeTokenizer,
} from "../../recipes/quickstart/repositories.ts";
import { openTokenizer, tokenWindows } from "../../workbench/data/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { perplexity } from "../../workbench/evaluate/perplexity.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import type { Gpt2Config, Model } from "../../workbench/models/index.ts";
import { tokensOf } from "../data/text-set.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const folder = temporaryFolder();

describe("stories", () => {
  test("are those of their seed, and others for another", () => {
    const one = makeStories({ lines: 50, seed: 1 });
    expect(makeStories({ lines: 50, seed: 1 })).toBe(one);
    expect(makeStories({ lines: 50, seed: 2 })).not.toBe(one);
    expect(makeStories({ lines: 20, seed: 1 })).toBe(`${one.split("\n").slice(0, 20).join("\n")}\n`);
  });

  test("agree about who is what, whatever their seed: there is something to learn", () => {
    const facts = new Map<string, string>();
    for (const seed of [1, 2, 3]) {
      for (const line of makeStories({ lines: 500, seed }).trimEnd().split("\n")) {
        const [, name, town] = /^(\S+ \S+) lives in (\S+) \./.exec(line) ?? [];
        expect(facts.get(name as string) ?? town).toBe(town as string);
        facts.set(name as string, town as string);
        const [, trade, place] = /(?:He|She) is a (\S+) in (\S+) \./.exec(line) ?? [];
        if (trade === undefined) continue;
        expect(place).toBe(town as string);
        expect(facts.get(`${name} trade`) ?? trade).toBe(trade);
        facts.set(`${name} trade`, trade);
      }
    }
    expect(facts.size).toBe(2 * 48);
  });
});

describe("the tokenizer", () => {
  test("has one token for each word of the stories, and gives the text back", async () => {
    const text = makeStories({ lines: 300, seed: 4 });
    await writeTokenizer(folder("words"), wordsOf(text));
    const tokenizer = await openTokenizer(folder("words"));
    const pieces = text.match(/ ?[\p{L}]+| ?[^\s\p{L}]+|\n/gu) ?? [];
    const ids = tokenizer.encode(text);
    expect(ids.length).toBe(pieces.length);
    expect(Array.from(ids, (id) => tokenizer.decode([id]))).toEqual([...pieces]);
    expect(tokenizer.decode(ids)).toBe(text);
  });

  test("gives any text back", async () => {
    const size = await writeTokenizer(folder("any"), wordsOf(makeStories({ lines: 50, seed: 4 })));
    const tokenizer = await openTokenizer(folder("any"));
    expect(tokenizer.vocabSize).toBe(size);
    const texts = fc.string({ unit: "binary", maxLength: 60 }).filter((text) => text.isWellFormed());
    fc.assert(
      fc.property(texts, (text) => {
        const ids = tokenizer.encode(text);
        expect(tokenizer.decode(ids)).toBe(text);
        expect(ids.every((id) => id >= 0 && id < size)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

describe("the repositories", () => {
  test("are a text whose tokens the model has, and a model that knows nothing", async () => {
    await openEngine();
    const hub = folder("hub");
    mkdirSync(hub);
    await makeRepositories(hub, 1);
    const [dataset, place] = [`${hub}/datasets/${STORIES}`, `${hub}/models/${UNTRAINED}`];
    expect(readdirSync(dataset).sort()).toEqual(["README.md", "test.txt", "train.txt", "validation.txt"]);
    const splits = ["train", "validation", "test"].map((split) => readFileSync(`${dataset}/${split}.txt`, "utf8"));
    const held = new Set(splits[0]?.split("\n"));
    const lines = splits[2]?.trimEnd().split("\n") ?? [];
    // Made of the same facts, but most of them are told otherwise.
    expect(lines.filter((line) => held.has(line)).length).toBeLessThan(lines.length / 2);
    const options = { dataset, split: "test", tokenizer: place, cache: folder("cache") };
    const { tokens } = await tokensOf(options);
    const model = (await loadModelNow(place)) as Model<Gpt2Config>;
    expect(tokens.vocabSize).toBe(model.config.vocabulary);
    for await (const event of perplexity(model, { windows: tokenWindows(tokens, { context: 64 }), limit: 16 })) {
      if (event.kind !== "perplexity") continue;
      expect(event.perplexity).toBeGreaterThan(0.7 * model.config.vocabulary);
      expect(event.perplexity).toBeLessThan(1.4 * model.config.vocabulary);
    }
    await tokens.close();
    model.dispose();
  });
});
