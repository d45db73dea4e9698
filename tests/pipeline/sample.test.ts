// Texts that a model in training writes: those of `gblr generate` with the likeliest token, and nothing of the model changes.

import { beforeAll, expect, test } from "bun:test";
import { openTokenizer } from "../../workbench/data/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { generateTokens } from "../../workbench/models/index.ts";
import { sampleText } from "../../workbench/pipeline/generate.ts";
import { writeTinyTokenizer } from "../data/hub-folders.ts";
import { liveTensors } from "../engine/ops/operands.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { smallLlama } from "../models/small-llama.ts";

const at = temporaryFolder();
beforeAll(async () => {
  await openEngine({ engine: "wasm" });
});

/** As Llama's, it puts a token before each text. */
async function tokenizerWithBeginning() {
  const [content, id] = ["<|endoftext|>", 275];
  const begin = { SpecialToken: { id: content, type_id: 0 } };
  const text = { Sequence: { id: "A", type_id: 0 } };
  const folder = writeTinyTokenizer(at("tokenizer"), {
    post_processor: {
      ...{ type: "TemplateProcessing", single: [begin, text], pair: [begin, text] },
      special_tokens: { [content]: { id: content, ids: [id], tokens: [content] } },
    },
  });
  return { tokenizer: await openTokenizer(folder), begin: id };
}

test("samples begin with the token that the tokenizer puts before each text, and leave no tensor", async () => {
  const { tokenizer, begin } = await tokenizerWithBeginning();
  const prompt = "the end";
  expect(tokenizer.encode(prompt, { specialTokens: true })[0]).toBe(begin);
  const model = smallLlama({ model_type: "llama", vocab_size: tokenizer.vocabSize, max_position_embeddings: 32 });
  const continued = async (ids: ArrayLike<number>) => {
    const events = await Array.fromAsync(generateTokens(model, ids, { tokens: 8, temperature: 0, endOfText: [] }));
    return events.flatMap((event) => (event.kind === "token" ? [event.id] : []));
  };
  const plain = tokenizer.encode(prompt);
  const expected = await continued([begin, ...plain]);
  expect(await continued(plain)).not.toEqual(expected);
  model.masks.mode = "train";
  const before = liveTensors();
  const { text } = await sampleText(model, { tokenizer, prompt, tokens: 8 });
  expect(liveTensors()).toEqual(before);
  expect(model.masks.mode).toBe("train");
  expect(prompt + text).toBe(tokenizer.decode([...plain, ...expected]));
  const long = await sampleText(model, { tokenizer, prompt: prompt.repeat(40), tokens: 8 });
  expect(long.text.length).toBeGreaterThan(0);
  await expect(sampleText(model, { tokenizer, prompt, tokens: 8, signal: AbortSignal.abort() })).rejects.toThrow();
  expect(liveTensors()).toEqual(before);
  model.dispose();
});

test("samples of a model with more ids than its tokenizer end at one of them", async () => {
  const { tokenizer } = await tokenizerWithBeginning();
  const model = smallLlama({ model_type: "llama", vocab_size: 4000, eos_token_id: null });
  const { text } = await sampleText(model, { tokenizer, prompt: "the end", tokens: 8 });
  expect(text.length).toBeLessThan(8);
  model.dispose();
});
