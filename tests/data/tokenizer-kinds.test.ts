// Small tokenizers of every kind against what PyPI's tokenizers gave for them: ids, ids with special tokens, decoded
// texts, and texts decoded one id at a time. tests/data/tokenizer_kinds.py wrote kinds.json.

import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openTokenizer } from "../../workbench/data/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";

interface Kind {
  kind: string;
  definition: { model: { merges?: unknown[]; type?: string }; added_tokens: object[] };
  cases: { text: string; ids: number[]; special: number[]; decoded: string; skipped: string }[];
}

const KINDS: Kind[] = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/tokenizers/kinds.json"), "utf8"));
const folder = temporaryFolder();

function write(name: string, definition: object, config?: object): string {
  const at = folder(name);
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, "tokenizer.json"), JSON.stringify(definition));
  if (config) writeFileSync(join(at, "tokenizer_config.json"), JSON.stringify(config));
  return at;
}

for (const { kind: name, definition, cases } of KINDS) {
  describe(name, () => {
    test("has the ids of PyPI's tokenizers, and decodes them to the same texts", async () => {
      const tokenizer = await openTokenizer(write(name, definition));
      for (const { text, ids, special, decoded, skipped } of cases) {
        expect([...tokenizer.encode(text)]).toEqual(ids);
        expect([...tokenizer.encode(text, { specialTokens: true })]).toEqual(special);
        expect(tokenizer.decode(special)).toBe(decoded);
        expect(tokenizer.decode(special, { skipSpecialTokens: true })).toBe(skipped);
      }
    });

    test("decodes one id at a time to the same texts, never ending inside a character", async () => {
      const tokenizer = await openTokenizer(write(name, definition));
      for (const { special, decoded, skipped } of cases) {
        for (const [skipSpecialTokens, whole] of [
          [false, decoded],
          [true, skipped],
        ] as const) {
          const stream = tokenizer.streamDecoder({ skipSpecialTokens });
          const parts = special.map((id) => stream.push(id));
          expect(parts.every((part) => part.isWellFormed())).toBe(true);
          expect(parts.join("") + stream.end()).toBe(whole);
        }
      }
    });
  });
}

test("a stream after other ids gives the text that they continue with, and its first space", async () => {
  for (const name of ["llama2", "metaspace always", "llama3", "bert"]) {
    const tokenizer = await openTokenizer(write(name, kind(name).definition));
    const [ids, count] = [tokenizer.encode("the cat the hat"), tokenizer.encode("the cat").length];
    const stream = tokenizer.streamDecoder({ after: ids.slice(0, count) });
    const parts = Array.from(ids.slice(count), (id) => stream.push(id));
    expect(parts.join("") + stream.end()).toBe(" the hat");
  }
});

function kind(name: string): Kind {
  return structuredClone(KINDS.find((each) => each.kind === name) as Kind);
}

describe("the form of a file", () => {
  test("may have merges as pairs or as strings, and a model without its type", async () => {
    const { definition, cases } = kind("llama2");
    definition.model.merges = (definition.model.merges as string[][]).map((pair) => pair.join(" "));
    definition.model.merges.unshift("#version: 0.2");
    delete definition.model.type;
    const tokenizer = await openTokenizer(write("old form", definition));
    for (const { text, ids } of cases) expect([...tokenizer.encode(text)]).toEqual(ids);
    for (const name of ["bert", "words", "unigram with bytes"]) {
      const other = kind(name);
      delete other.definition.model.type;
      const opened = await openTokenizer(write(`untyped ${name}`, other.definition));
      for (const { text, ids } of other.cases) expect([...opened.encode(text)]).toEqual(ids);
    }
  });

  test("may split text at any sign that has a meaning in expressions", async () => {
    const model = { type: "WordLevel", unk_token: "?", vocab: { a: 0, b: 1, "?": 2 } };
    for (const sign of "\\^$.*+?()[]{}|/-") {
      const split = { type: "Split", pattern: { String: sign }, behavior: "Removed", invert: false };
      const tokenizer = await openTokenizer(write("sign", { model, pre_tokenizer: split }));
      expect([...tokenizer.encode(`a${sign}b`)]).toEqual([0, 1]);
    }
  });

  test("gives added tokens the ids that Rust gives them: that of the vocabulary, or the next one", async () => {
    const model = { type: "BPE", vocab: { a: 0, b: 1, c: 5 }, merges: [] };
    const added = [
      { id: 70000, content: "<x>", special: true },
      { id: 9, content: "<y>", special: true },
      { id: 2, content: "b", special: true },
    ];
    const tokenizer = await openTokenizer(write("holes", { model, added_tokens: added }));
    expect([...tokenizer.encode("ab<x>z<y>c")]).toEqual([0, 1, 3, 4, 5]);
    expect([tokenizer.vocabSize, tokenizer.idOf("<x>"), tokenizer.idOf("c"), tokenizer.idOf("z")]).toEqual([
      ...[6, 3, 5],
      undefined,
    ]);
  });

  test("may have added tokens in tokenizer_config.json alone", async () => {
    const { definition } = kind("llama3");
    const config = {
      added_tokens_decoder: {
        900: { content: "<|late|>", special: true },
        0: { content: "<|begin_of_text|>", special: true },
      },
    };
    const tokenizer = await openTokenizer(write("config", definition, config));
    const late = tokenizer.vocabSize - 1;
    expect([...tokenizer.encode("<|begin_of_text|><|late|>")]).toEqual([0, late]);
    expect(tokenizer.decode([late, late], { skipSpecialTokens: true })).toBe("");
  });
});

/** A definition that a test may damage in any way. */
interface Damaged {
  normalizer?: unknown;
  pre_tokenizer?: unknown;
  post_processor?: unknown;
  decoder?: unknown;
  added_tokens?: unknown;
  model: { type?: string; dropout?: number; vocab: Record<string, unknown>; merges: unknown[] };
}

describe("a file is refused in one line", () => {
  const refusals: [string, (definition: Damaged) => void, RegExp][] = [
    [
      "an unknown normalizer",
      (all) => (all.normalizer = { type: "Magic" }),
      /the normalizer "Magic" is not supported; supported: /,
    ],
    [
      "a pre-tokenizer that is not supported",
      (all) => (all.pre_tokenizer = { type: "UnicodeScripts" }),
      /the pre_tokenizer "UnicodeScripts" is not supported/,
    ],
    ["a decoder that is not supported", (all) => (all.decoder = { type: "CTC" }), /the decoder "CTC" is not supported/],
    [
      "an unknown model",
      (all) => (all.model.type = "constructor"),
      /the model "constructor" is not supported; supported: BPE, /,
    ],
    ["dropout", (all) => (all.model.dropout = 0.1), /model BPE: dropout is not supported/],
    ["a negative id", (all) => (all.model.vocab.the = -1), /model BPE: vocab: the token "the" has the id -1/],
    ["an id that is too large", (all) => (all.model.vocab.the = 1e12), /the token "the" has the id 1000000000000/],
    [
      "a vocabulary that is a list",
      (all) => (all.model.vocab = [["a", 1]] as never),
      /model BPE: vocab: expected an object/,
    ],
    [
      "a merge of unknown tokens",
      (all) => all.model.merges.push(["t", "☃"]),
      /merge \d+: the token "☃" is not in the vocabulary/,
    ],
    ["a merge of three tokens", (all) => all.model.merges.push("a b c"), /merge \d+: "a b c" is not a pair of tokens/],
    ["an invalid expression", (all) => (all.pre_tokenizer = split("(?<=a+")), /cannot be used: /],
    [
      "an unknown behavior",
      (all) => (all.pre_tokenizer = { ...split("a"), behavior: "Odd" }),
      /pre_tokenizer Split: behavior: /,
    ],
    [
      "a damaged map",
      (all) => (all.normalizer = { type: "Precompiled", precompiled_charsmap: "AAA" }),
      /precompiled_charsmap is damaged/,
    ],
    ["a template without its token", (all) => (all.post_processor = template("<a>")), /special_tokens: has no "<a>"/],
    [
      "sequences that are nested too deeply",
      (all) => (all.normalizer = nested(100)),
      /the normalizer has more than 16 sequences/,
    ],
    ["an added token without text", (all) => (all.added_tokens = [{ id: 1 }]), /added_tokens.*content/],
  ];
  const split = (Regex: string) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false });
  const template = (id: string) => ({
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [],
    special_tokens: {},
  });
  const nested = (depth: number): object =>
    depth === 0 ? { type: "NFC" } : { type: "Sequence", normalizers: [nested(depth - 1)] };

  test.each(refusals)("%s", async (name, change, message) => {
    const { definition } = kind("llama2");
    change(definition as unknown as Damaged);
    const error = (await openTokenizer(write(name, definition)).catch((thrown: Error) => thrown)) as Error;
    expect(error.message).toMatch(message);
    expect(error.name).toBe("DataError");
    expect(error.message).not.toContain("\n");
    expect(error.message.length).toBeLessThan(400);
  });

  test.each([
    ["tokenizer.model", "vocab.json", /has tokenizer\.model but no tokenizer\.json; /],
    ["vocab.json", "merges.txt", /has vocab\.json but no tokenizer\.json; /],
  ])("a folder with %s and no tokenizer.json", async (first, second, message) => {
    const at = folder(`without ${first}`);
    mkdirSync(at);
    for (const name of [first, second]) writeFileSync(join(at, name), "");
    const error = (await openTokenizer(at).catch((thrown: Error) => thrown)) as Error;
    expect(error.message).toMatch(message);
  });
});
