// Byte-level tokenizers against @huggingface/tokenizers, id for id, where its ids are right: on real text, on any Unicode,
// and on settings that move the borders of pieces.

import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import fc from "fast-check";
import { parquetRows } from "../../workbench/data/dataset/rows.ts";
import { openTokenizer } from "../../workbench/data/index.ts";
import { asUnicode16 } from "../../workbench/data/tokenizer/unicode.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { GPT2, HUB_IS_HERE, type TinyTokenizer, WIKITEXT, writeTinyTokenizer } from "./hub-folders.ts";

const folder = temporaryFolder();

function openLibrary(from: string): Library {
  const read = (name: string) => JSON.parse(readFileSync(join(from, name), "utf8"));
  return new Library(read("tokenizer.json"), read("tokenizer_config.json"));
}

function plainIds(library: Library, text: string): number[] {
  return library.encode(text, { add_special_tokens: false }).ids;
}

/** Texts that meet what tokenizers get wrong: borders, joiners, halves of characters, and tokens written out. */
const anyText = fc
  .array(
    fc.oneof(
      fc.string({ unit: "binary", maxLength: 12 }),
      fc.string({ unit: "grapheme", maxLength: 12 }),
      fc.constantFrom(
        "<|endoftext|>",
        "<|endof",
        "text|>",
        "tHe",
        "aND",
        " the",
        "the",
        "'s",
        "'S",
        "'ll",
        " 's",
        "''d",
        "1919",
        "the and",
      ),
      fc.constantFrom(
        " ",
        "  ",
        "    ",
        "\n",
        "\n\n",
        "\r\n",
        "\t ",
        "\u00a0",
        "\u3000",
        "\ufeff",
        "\u0085",
        "\u200b",
        "\0",
      ),
      fc.constantFrom("e\u0301", "é", "👩‍👩‍👧", "🇩🇪", "\ud83d", "\udc69", "ß½²Ⅷ", "𝟘𝔸", "한국", "नि", "￾", "\u2028"),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(""));

/** Without what the plain library classes in another way than Rust: two spaces, and letters of the runtime's Unicode. */
const libraryText = anyText.map((text) => asUnicode16(text.replace(/[\u0085\ufeff]/g, "\u00a0")));

/** The expression of a later model's tokenizer, which the library translates. */
const LATER =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

function splitFirst(byteLevel: object): object {
  const split = { type: "Split", pattern: { Regex: LATER }, behavior: "Isolated", invert: false };
  return { type: "Sequence", pretokenizers: [split, { type: "ByteLevel", add_prefix_space: false, ...byteLevel }] };
}

/** A token before each text, when special tokens are asked for. */
const TEMPLATE = {
  type: "Sequence",
  processors: [
    { type: "ByteLevel" },
    {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "the", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { the: { id: "the", ids: [274], tokens: ["the"] } },
    },
  ],
};

const SETTINGS: Record<string, TinyTokenizer> = {
  "as GPT-2": {},
  "a space before each text": { pre_tokenizer: { type: "ByteLevel", add_prefix_space: true } },
  "no regular expression": { pre_tokenizer: { type: "ByteLevel", use_regex: false } },
  "an expression of its own": {
    pre_tokenizer: splitFirst({ use_regex: false }),
    post_processor: TEMPLATE,
    model: { ignore_merges: true },
  },
  "an expression before GPT-2's": { pre_tokenizer: splitFirst({}) },
  "a Unicode normalizer": { normalizer: { type: "NFC" } },
  "words left whole when they are known": { model: { ignore_merges: true } },
  "one merge listed twice": { model: { merges: ["t h", "h e", "th e", "t h"] } },
  "special tokens at the ends": { post_processor: { type: "RobertaProcessing", cls: ["a", 97], sep: ["b", 98] } },
};

describe("ids are the plain library's", () => {
  test.each(Object.keys(SETTINGS).map((name) => [name] as const))("on any Unicode: %s", async (name) => {
    const at = writeTinyTokenizer(folder(name), SETTINGS[name]);
    const [tokenizer, library] = [await openTokenizer(at), openLibrary(at)];
    fc.assert(
      fc.property(libraryText, (text) => expect([...tokenizer.encode(text)]).toEqual(plainIds(library, text))),
      { numRuns: 400 },
    );
  });

  test.skipIf(!HUB_IS_HERE)("on any Unicode: GPT-2 itself", async () => {
    const [tokenizer, library] = [await openTokenizer(GPT2), openLibrary(GPT2)];
    fc.assert(
      fc.property(libraryText, (text) => expect([...tokenizer.encode(text)]).toEqual(plainIds(library, text))),
      { numRuns: 1500 },
    );
  });

  test.skipIf(!HUB_IS_HERE)(
    "on the whole WikiText test text, which they also decode to",
    async () => {
      const [tokenizer, library] = [await openTokenizer(GPT2), openLibrary(GPT2)];
      let differing = 0;
      let rows = 0;
      for await (const { texts } of parquetRows(
        join(WIKITEXT, "wikitext-mini-v1/test-00000-of-00001.parquet"),
        "text",
      )) {
        for (const text of texts) {
          const ids = tokenizer.encode(text);
          const plain = plainIds(library, text);
          if (ids.length !== plain.length || plain.some((id, i) => ids[i] !== id) || tokenizer.decode(ids) !== text)
            differing++;
          rows++;
        }
      }
      expect({ rows, differing }).toEqual({ rows: 4358, differing: 0 });
    },
    60_000,
  );

  test("on pieces longer than any memo or merge keeps", async () => {
    const at = writeTinyTokenizer(folder("long"));
    const [tokenizer, library] = [await openTokenizer(at), openLibrary(at)];
    for (const length of [63, 64, 65, 127, 128, 129, 1000]) {
      for (const text of ["a".repeat(length), "é".repeat(length), " ".repeat(length), `the${"\n".repeat(length)}x`]) {
        expect([...tokenizer.encode(text)]).toEqual(plainIds(library, text));
        expect([...tokenizer.encode(text)]).toEqual(plainIds(library, text));
      }
    }
  });
});

describe("decoding", () => {
  test("gives the text back, byte for byte, whatever it was", async () => {
    const tokenizer = await openTokenizer(writeTinyTokenizer(folder("decode")));
    const utf8 = new TextEncoder();
    fc.assert(
      fc.property(anyText, (text) => {
        const ids = tokenizer.encode(text);
        expect(tokenizer.decode(ids)).toBe(text.toWellFormed());
        expect(tokenizer.textCounts(ids)).toEqual({
          words: text.toWellFormed().match(/\P{White_Space}+/gu)?.length ?? 0,
          bytes: utf8.encode(text).length,
        });
      }),
      { numRuns: 400 },
    );
  });

  test("as ids come never ends inside a character, and loses none", async () => {
    const tokenizer = await openTokenizer(writeTinyTokenizer(folder("stream")));
    fc.assert(
      fc.property(anyText, (text) => {
        const decoder = tokenizer.streamDecoder();
        const parts = [...tokenizer.encode(text.toWellFormed())].map((id) => decoder.push(id));
        if (!text.toWellFormed().includes("\ufffd")) expect(parts.join("")).not.toContain("\ufffd");
        expect(parts.join("") + decoder.end()).toBe(text.toWellFormed());
      }),
      { numRuns: 400 },
    );
  });

  test("marks a character that was never finished", async () => {
    const tokenizer = await openTokenizer(writeTinyTokenizer(folder("half")));
    const [first] = tokenizer.encode("€");
    const decoder = tokenizer.streamDecoder();
    expect([decoder.push(first as number), decoder.push(97), decoder.push(first as number), decoder.end()]).toEqual([
      "",
      "\ufffda",
      "",
      "\ufffd",
    ]);
    expect(tokenizer.decode([first as number])).toBe("\ufffd");
    expect(tokenizer.textCounts([first as number])).toEqual({ words: 1, bytes: 1 });
  });

  test("streams where tokens have no bytes", async () => {
    const at = writeTinyTokenizer(folder("word-pieces"), { pre_tokenizer: { type: "WhitespaceSplit" } });
    const definition = JSON.parse(readFileSync(join(at, "tokenizer.json"), "utf8"));
    definition.model = {
      type: "WordPiece",
      unk_token: "[UNK]",
      max_input_chars_per_word: 100,
      continuing_subword_prefix: "##",
      vocab: { "[UNK]": 0, un: 1, "##able": 2, to: 3 },
    };
    definition.decoder = { type: "WordPiece", prefix: "##", cleanup: false };
    definition.added_tokens = [];
    writeFileSync(join(at, "tokenizer.json"), JSON.stringify(definition));
    const tokenizer = await openTokenizer(at);
    const ids = tokenizer.encode("unable to");
    expect([...ids]).toEqual([1, 2, 3]);
    expect(tokenizer.decode(ids)).toBe("unable to");
    const decoder = tokenizer.streamDecoder();
    expect([...ids].map((id) => decoder.push(id)).join("") + decoder.end()).toBe("unable to");
    expect(tokenizer.textCounts(ids)).toEqual({ words: 2, bytes: 9 });
  });

  test("refuses an id that there is not", async () => {
    const tokenizer = await openTokenizer(writeTinyTokenizer(folder("unknown")));
    expect(() => tokenizer.decode([97, 5000])).toThrow(new RangeError("the tokenizer has no token with id 5000"));
  });
});

describe("a tokenizer's folder", () => {
  test("says its size and the token that ends a text", async () => {
    const tokenizer = await openTokenizer(writeTinyTokenizer(folder("facts")));
    expect([tokenizer.vocabSize, tokenizer.eosTokenId]).toEqual([278, 277]);
    const other = writeTinyTokenizer(folder("facts-other"), { config: { eos_token: { content: "and" } } });
    expect((await openTokenizer(other)).eosTokenId).toBe(266);
    const none = writeTinyTokenizer(folder("facts-none"), { config: {} });
    expect((await openTokenizer(none)).eosTokenId).toBeUndefined();
  });

  test("is refused in one line when it has no tokenizer.json, or a damaged one", async () => {
    const refusal = async (name: string, content: string) => {
      const at = writeTinyTokenizer(folder(name));
      writeFileSync(join(at, "tokenizer.json"), content);
      return (await openTokenizer(at).catch((error: Error) => error)) as Error;
    };
    const missing = (await openTokenizer(folder("nowhere")).catch((error: Error) => error)) as Error;
    expect(missing.message).toBe(
      `${folder("nowhere")}: has no tokenizer.json; copy or pull it from the tokenizer's model`,
    );
    expect((await refusal("cut", '{"model": {')).message).toMatch(
      /tokenizer\.json: is not valid JSON \(.+\); fetch it again$/,
    );
    expect((await refusal("list", "[]")).message).toMatch(/tokenizer\.json: is not that of a tokenizer: the file: /);
    expect((await refusal("empty", "{}")).message).toMatch(/tokenizer\.json: is not that of a tokenizer: model: /);
    const odd = JSON.stringify({ model: { type: "Magic" }, added_tokens: [] });
    expect((await refusal("odd", odd)).message).toMatch(/tokenizer.json that cannot be used: .*Magic/);
    for (const error of [missing, await refusal("cut", "{"), await refusal("odd", odd)]) {
      expect(error.name).toBe("DataError");
      expect(error.message).not.toContain("\n");
    }
  });
});
