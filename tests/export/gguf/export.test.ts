// Language models as GGUF files, and imported again: the same bits, config and ids. What llama.cpp does not have is
// refused, and a file is written whole or not at all. readers.slow.test.ts compares with other programs.

import { beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { openGguf } from "../../../hub/gguf/index.ts";
import { fromFloat32, toFloat32 } from "../../../hub/safetensors/index.ts";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { openTokenizer } from "../../../workbench/data/index.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { createModel, type FileType, gpt2, llama, type Model } from "../../../workbench/models/index.ts";
import { smallVit } from "../../architectures/small-vision.ts";
import { type TinyTokenizer, writeTinyTokenizer } from "../../data/hub-folders.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { LLAMAS, SMALL_LLAMA, smallLlama } from "../../models/small-llama.ts";
import { livelier, taken, tinyGpt2, valuesOf } from "../../models/tiny.ts";
import { converted } from "../onnx/runtime.ts";
import { exported, reimported } from "./exported.ts";

const at = temporaryFolder();
/** Rows of the embedding; the tokenizer has 278 tokens. */
const ROWS = 280;
const IDS = [5, 270, 3, 99, 12, 64];

/** A Llama whose vocabulary fits the tokenizer. */
const fitting = (settings: object) => smallLlama({ vocab_size: ROWS, ...settings }) as Model;

/** The models of LLAMAS whose settings llama.cpp has. */
const MODELS: Readonly<Record<string, () => Model>> = {
  "Llama, tied": () => fitting(LLAMAS["Llama, tied"]),
  "Llama with biases": () => fitting(LLAMAS["Llama with biases"]),
  "Llama with scaled positions": () =>
    fitting({
      model_type: "llama",
      rope_parameters: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 4 },
    }),
  "Llama 3.1's positions": () =>
    fitting({
      model_type: "llama",
      rope_parameters: {
        ...{ rope_type: "llama3", rope_theta: 500_000, factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
        original_max_position_embeddings: 8192,
      },
    }),
  Mistral: () => fitting({ model_type: "mistral", sliding_window: 16 }),
  Qwen2: () => fitting({ ...LLAMAS.Qwen2, head_dim: 6 }),
  Qwen3: () => fitting(LLAMAS.Qwen3),
  SmolLM3: () => fitting({ model_type: "smollm3", num_hidden_layers: 4 }),
  "GPT-2": () => livelier(tinyGpt2({ vocab_size: ROWS })) as Model,
  "GPT-2, untied": () => livelier(tinyGpt2({ vocab_size: ROWS, tie_word_embeddings: false, n_inner: 40 })) as Model,
};

const fileOf = (name: string) => at(`${name.replace(/\W+/g, "-")}.gguf`);

function tokenizer(name = "tokenizer", parts: TinyTokenizer = {}): string {
  return writeTinyTokenizer(at(name), parts);
}

async function logitsOf(model: Model): Promise<Float32Array> {
  const ids = tf.tensor2d(IDS, [1, IDS.length], "int32");
  const logits = await taken(tf.tidy(() => languageLogits(model, ids)));
  ids.dispose();
  return logits;
}

/** Metadata of a file. */
async function metadataOf(file: string) {
  const gguf = await openGguf(file);
  await gguf.close();
  return gguf.metadata;
}

forEachEngine("a model that is exported as GGUF and imported again", (_, { label }) => {
  const name = label.replace(/\W+/g, "-");

  test("has the same bits in every tensor and the same logits, for every family", async () => {
    const folder = tokenizer();
    for (const [which, make] of Object.entries(MODELS)) {
      const model = make();
      const file = fileOf(`${name} ${which}`);
      await exported(model, file, { folder, name: which });
      const back = await reimported(file, at(`${name} ${which}`));
      const [values, found] = [await valuesOf(model), await valuesOf(back)];
      expect({ which, names: [...found.keys()] }).toEqual({ which, names: [...values.keys()] });
      for (const [parameter, expected] of values) {
        expect({ which, parameter, same: expected.every((value, i) => value === found.get(parameter)?.[i]) }).toEqual({
          which,
          parameter,
          same: true,
        });
      }
      expect({ which, logits: await logitsOf(back) }).toEqual({ which, logits: await logitsOf(model) });
      model.dispose();
      back.dispose();
    }
  });

  test.each<FileType>(["float16", "bfloat16"])("in %s has matrices rounded to it, and exact vectors", async (dtype) => {
    const model = MODELS["Llama with biases"]?.() as Model;
    const file = fileOf(`${name} ${dtype}`);
    const bytes = await exported(model, file, { folder: tokenizer(), name: "half", dtype });
    const back = await reimported(file, at(`${name} ${dtype}`));
    const found = await valuesOf(back);
    const type = dtype === "float16" ? "F16" : "BF16";
    let size = 0;
    for (const [parameter, values] of await valuesOf(model)) {
      const isMatrix = model.parameter(parameter).shape.length === 2;
      size += (isMatrix ? 2 : 4) * values.length;
      const rounded = toFloat32(fromFloat32(values, { dtype: type, shape: [values.length] }));
      expect(found.get(parameter)).toEqual(isMatrix ? rounded : values);
    }
    expect(bytes).toBe(size);
    model.dispose();
    back.dispose();
  });

  test("with structured layers has the matrices that they apply", async () => {
    for (const structure of ["gblr", "lowrank", "pifa"]) {
      const model = MODELS["GPT-2"]?.() as Model;
      await converted(model, { structure, budget: 0.6 });
      const file = fileOf(`${name} ${structure}`);
      await exported(model, file, { folder: tokenizer(), name: structure });
      const back = await reimported(file, at(`${name} ${structure}`));
      expect([...back.layers.values()].every((layer) => layer.structure.isDense)).toBe(true);
      expect([...model.layers.values()].some((layer) => !layer.structure.isDense)).toBe(true);
      const [expected, found] = [await logitsOf(model), await logitsOf(back)];
      const scale = Math.max(...expected.map(Math.abs));
      expect(Math.max(...expected.map((value, i) => Math.abs(value - (found[i] as number)))) / scale).toBeLessThan(
        1e-5,
      );
      model.dispose();
      back.dispose();
    }
  });
});

describe("a GGUF file", () => {
  let model: Model;
  beforeAll(async () => {
    await openEngine({ engine: "cpu" });
    model = MODELS["Llama, tied"]?.() as Model;
  });

  test("says what the model's card and generation_config.json say", async () => {
    const folder = tokenizer("card");
    const card = "---\nlicense: mit\nlanguage: [en, de]\nbase_model: owner/base\ntags: [small]\n---\n# Card\n";
    writeFileSync(path.join(folder, "README.md"), card);
    const settings = { do_sample: true, temperature: 0.6, top_k: 20, top_p: 0.95, repetition_penalty: 1.1 };
    writeFileSync(path.join(folder, "generation_config.json"), JSON.stringify(settings));
    await exported(model, fileOf("card"), { folder, name: "small one" });
    const back = await reimported(fileOf("card"), at("from card"));
    back.dispose();
    const json = (name: string) => JSON.parse(readFileSync(at("from card", name), "utf8"));
    expect(json("generation_config.json")).toMatchObject(settings);
    expect(readFileSync(at("from card", "README.md"), "utf8")).toStartWith(
      '---\nlicense: "mit"\nlanguage: ["en","de"]\nbase_model: "owner/base"\n---\n\n# small one\n',
    );
    const metadata = await metadataOf(fileOf("card"));
    expect(metadata.text("general.size_label")).toBe("17K");
    expect(metadata.texts("general.tags")).toEqual(["small"]);
    expect(metadata.count("general.file_type")).toBe(0);
  });

  test("has a token for each row, the special tokens, the chat template, and the ids of the tokenizer", async () => {
    const marks = ["<|im_start|>", "<think>"].map((content, i) => ({ id: 278 + i, content, special: i === 0 }));
    const end = { id: 277, content: "<|endoftext|>", special: true };
    const post_processor = {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<|im_start|>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { "<|im_start|>": { id: "<|im_start|>", ids: [278], tokens: ["<|im_start|>"] } },
    };
    const folder = tokenizer("tokens", {
      added_tokens: [end, ...marks],
      post_processor,
      config: { bos_token: "<|im_start|>", eos_token: { content: "<|endoftext|>" }, chat_template: "{{ x }}" },
    });
    const large = smallLlama({ ...LLAMAS.Qwen3, vocab_size: 282 }) as Model;
    await exported(large, fileOf("tokens"), { folder, name: "tokens" });
    const metadata = await metadataOf(fileOf("tokens"));
    expect(metadata.text("tokenizer.ggml.pre")).toBe("gpt-2");
    expect(metadata.texts("tokenizer.ggml.tokens")?.slice(276)).toEqual([
      "aaaa",
      "<|endoftext|>",
      "<|im_start|>",
      "<think>",
      "[PAD280]",
      "[PAD281]",
    ]);
    expect(metadata.numbers("tokenizer.ggml.token_type")?.slice(276)).toEqual([1, 3, 3, 4, 5, 5]);
    expect(metadata.count("tokenizer.ggml.bos_token_id")).toBe(278);
    expect(metadata.count("tokenizer.ggml.eos_token_id")).toBe(277);
    expect(metadata.flag("tokenizer.ggml.add_bos_token")).toBe(true);
    expect(metadata.flag("tokenizer.ggml.add_eos_token")).toBe(false);
    expect(metadata.text("tokenizer.chat_template")).toBe("{{ x }}");
    const back = await reimported(fileOf("tokens"), at("from tokens"));
    for (const text of ["the theme and  an 1919\n\n", "<|im_start|>is it<think>'s", "naïve"]) {
      const [one, other] = [await openTokenizer(folder), await openTokenizer(at("from tokens"))];
      expect([...other.encode(text)]).toEqual([...one.encode(text)]);
    }
    back.dispose();
    large.dispose();
  });

  const regex = (Regex: string) => ({
    type: "Sequence",
    pretokenizers: [
      { type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false },
      { type: "ByteLevel", add_prefix_space: false, use_regex: false },
    ],
  });
  const LLAMA3 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  const digits = {
    type: "Sequence",
    pretokenizers: [
      { type: "Digits", individual_digits: true },
      { type: "ByteLevel", add_prefix_space: false },
    ],
  };

  test.each<[string, TinyTokenizer]>([
    ["gpt-2", {}],
    ["smollm", { pre_tokenizer: digits }],
    ["llama-bpe", { pre_tokenizer: regex(LLAMA3), model: { ignore_merges: true } }],
    ["smaug-bpe", { pre_tokenizer: regex(LLAMA3) }],
    ["qwen2", { pre_tokenizer: regex(LLAMA3.replace("{1,3}", "")), normalizer: { type: "NFC" } }],
  ])("calls the splitting of a tokenizer %s", async (name, parts) => {
    await exported(model, fileOf(name), { folder: tokenizer(`split ${name}`, parts), name });
    expect((await metadataOf(fileOf(name))).text("tokenizer.ggml.pre")).toBe(name);
  });

  test.each<[string, TinyTokenizer, string]>([
    [
      "an unknown splitting",
      { pre_tokenizer: regex("a+") },
      "its pre_tokenizer is none that llama.cpp is known to have",
    ],
    ["a prefix", { pre_tokenizer: { type: "ByteLevel", add_prefix_space: true } }, "its pre_tokenizer is none"],
    ["a normalizer", { normalizer: { type: "Lowercase" } }, "llama.cpp has no normalizer Lowercase"],
    [
      "whole tokens before merges",
      // No merges lead to this token.
      { model: { ignore_merges: true, merges: ["t h", "Ġ t"] } },
      "ignore_merges is true, which llama.cpp does not have with this pre_tokenizer, and no merges lead to",
    ],
    [
      "another model",
      { model: { type: "WordLevel", vocab: { a: 0 }, unk_token: "a" } },
      "its model is WordLevel, and only BPE",
    ],
    [
      "too many tokens",
      { added_tokens: ["xx", "yy", "zz"].map((content) => ({ id: 0, content })) },
      'the token "zz" has the id 280, the embedding 280 rows',
    ],
    [
      "other tokens around a text",
      { post_processor: { type: "RobertaProcessing", cls: ["t", 1], sep: ["h", 2] } },
      "it puts other tokens around a text",
    ],
  ])("is refused for a tokenizer with %s", async (name, parts, problem) => {
    const folder = tokenizer(`refused ${name}`, parts);
    await expect(exported(model, fileOf("refused"), { folder, name })).rejects.toThrow(
      `${folder}: has a tokenizer that a GGUF file cannot hold: ${problem}`,
    );
  });

  test.each<[string, () => Model, string]>([
    ["a ViT", () => smallVit() as unknown as Model, "GGUF files hold models of gpt2 and llama; this is vit"],
    ["a window", () => fitting(LLAMAS["Mistral with a window"]), "llama.cpp has no sliding windows for mistral"],
    ["other blocks without positions", () => fitting(LLAMAS.SmolLM3), "block 1 differs"],
    ["half of the components turned", () => fitting({ partial_rotary_factor: 0.5 }), "turns 4 of 8 components"],
    ["biases in Qwen3", () => fitting({ ...LLAMAS.Qwen3, attention_bias: true }), "llama.cpp's qwen3 has no biases"],
    ["wide heads in Qwen2", () => fitting(LLAMAS.Qwen2), "needs heads that fill the width 24; this model has 4 of 8"],
    [
      "dynamic positions",
      () => fitting({ rope_parameters: { rope_type: "dynamic", factor: 2 } }),
      "no rotary positions of rope_type dynamic",
    ],
    ["another activation", () => fitting({ hidden_act: "gelu_new" }), "hidden_act of this model is gelu_tanh"],
    ["GPT-2 with ReLU", () => tinyGpt2({ activation_function: "relu" }) as Model, "activation_function of this model"],
  ])("is refused for %s", async (_, make, problem) => {
    const refused = make();
    const file = at("none", "refused.gguf");
    await expect(exported(refused, file, { folder: tokenizer(), name: "refused" })).rejects.toThrow(problem);
    expect(readdirSync(at())).not.toContain("none");
    refused.dispose();
  });

  test("is whole or not there: an error leaves the old file and no other", async () => {
    const large = createModel(
      gpt2,
      { n_layer: 1, n_embd: 8, n_head: 2, n_positions: 8, vocab_size: ROWS },
      { seed: 1 },
    );
    const weight = large.parameter("h.0.mlp.c_proj.weight");
    tf.tidy(() => weight.assign(tf.fill(weight.shape, 1e5)));
    const [folder, file] = [tokenizer(), at("kept", "old.gguf")];
    await exported(large as Model, file, { folder, name: "large" });
    const before = readFileSync(file);
    const problem = 'tensor "blk.0.ffn_down.weight": has the value 100000, too large for float16';
    await expect(exported(large as Model, file, { folder, name: "large", dtype: "float16" })).rejects.toThrow(problem);
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(readdirSync(at("kept"))).toEqual(["old.gguf"]);
    large.dispose();
  });

  test("of a folder without a tokenizer is refused", async () => {
    const folder = path.dirname(at("nothing", "x"));
    const small = createModel(llama, { ...SMALL_LLAMA, model_type: "llama" }, { seed: 1 }) as Model;
    await expect(exported(small, fileOf("nothing"), { folder, name: "x" })).rejects.toThrow("has no tokenizer.json");
    small.dispose();
  });
});
