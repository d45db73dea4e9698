// Greedy texts against transformers, with settings that both read from generation_config.json: the same tokens, and the
// same end.

import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { generationConfigOf } from "../../workbench/models/index.ts";
import { generateText, openGenerator } from "../../workbench/pipeline/generate.ts";
import { resultOf } from "../../workbench/pipeline/stage.ts";
import { writeChatModel } from "../cli/chat-model.ts";
import { VOCABULARY } from "../data/chat/chat-folder.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith } from "./python.ts";

const python = pythonWith("torch", "transformers");
const folder = temporaryFolder();
const code = (text: string) => [...Buffer.from(text)];

/** The id of `<|im_end|>`, at which the model ends its texts. */
const END = 259;
const SETTINGS: Record<string, unknown>[] = [
  {},
  { repetition_penalty: 1.4 },
  { repetition_penalty: 0.8, min_new_tokens: 12 },
  { no_repeat_ngram_size: 2 },
  { no_repeat_ngram_size: 3, repetition_penalty: 1.1 },
  { bad_words_ids: [code("a"), code("qq"), code("ww"), [END]] },
  { suppress_tokens: [...code("qwz"), END], begin_suppress_tokens: code("abc") },
  {
    sequence_bias: [
      [code("q"), -4.5],
      [code("xy"), 6.5],
    ],
  },
  { min_length: 30, no_repeat_ngram_size: 1 },
  { forced_eos_token_id: END, max_new_tokens: 7 },
  { forced_bos_token_id: 100 },
  { exponential_decay_length_penalty: [3, 1.9] },
  { eos_token_id: [END, 119, 122] },
  { eos_token_id: [END, 119], min_new_tokens: 9 },
  { stop_strings: ["qq", "zz"], no_repeat_ngram_size: 3 },
  { stop_strings: "lo", repetition_penalty: 1.3 },
  { max_length: 40 },
];
/** Tokens that are suppressed: all but letters, the space and the end, so that stop strings occur. */
const OTHERS = Array.from({ length: VOCABULARY }, (_, id) => id).filter(
  (id) => id !== END && !/[a-z ]/.test(String.fromCharCode(id)),
);
const PROMPTS = [code("hello"), [104], code("the quick brown fox jumps over")];

test.skipIf(!python)(
  "greedy texts have the tokens that transformers gives them",
  async () => {
    await openEngine(ENGINES[0]?.options);
    await writeChatModel(folder("model"));
    const settings = SETTINGS.map((own, i) => {
      const at = folder(`settings ${i}`);
      mkdirSync(at);
      const usual = {
        eos_token_id: END,
        do_sample: false,
        suppress_tokens: OTHERS,
        ...(own.max_length === undefined && { max_new_tokens: 20 }),
      };
      writeFileSync(path.join(at, "generation_config.json"), JSON.stringify({ ...usual, ...own }));
      return at;
    });
    const input = JSON.stringify({ settings, prompts: PROMPTS });
    const wanted = await askPython<number[][][]>(python, "generated.py", { args: [folder("model")], input });
    const generator = await resultOf(openGenerator(folder("model"), { name: "model" }));
    const different = new Set<string>();
    for (const [i, at] of settings.entries()) {
      const config = await generationConfigOf(at);
      for (const [j, ids] of PROMPTS.entries()) {
        const { sampling, maxLength = 0, tokens = maxLength - ids.length, stopStrings, endOfText = [] } = config;
        const options = { ...sampling, temperature: 0, tokens, stopStrings, endOfText };
        const prompt = { ids, text: Buffer.from(ids).toString() };
        const made = await resultOf(generateText(generator, prompt, options));
        const end = made.stopped === "end of text" ? 1 : 0;
        const expected = wanted[i]?.[j] as number[];
        expect([SETTINGS[i], j, made.ids]).toEqual([SETTINGS[i], j, expected.slice(0, expected.length - end)]);
        if (end === 1) expect(endOfText).toContain(expected.at(-1) as number);
        different.add(made.ids.join());
      }
    }
    expect(different.size).toBeGreaterThan(20);
    generator.dispose();
  },
  PATIENCE,
);
