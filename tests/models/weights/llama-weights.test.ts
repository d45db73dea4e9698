// Weights of Llama's families without config.json: the model is recognized by names and shapes. Settings that these do not
// determine are assumed, unless flags or settings stored with the weights give them.

import { beforeAll, describe, expect, test } from "bun:test";
import type { TensorInfo } from "../../../hub/safetensors/index.ts";
import type { WeightsFile } from "../../../workbench/architectures/architecture.ts";
import { llamaWeights } from "../../../workbench/architectures/llama/checkpoint.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { createModel, llama, type Model } from "../../../workbench/models/index.ts";
import { type Recognized, recognizeFile } from "../../../workbench/models/weights/index.ts";
import { bytesOf, push } from "../../hub/checkpoint/build.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { type Tensors, writtenWeights } from "./weights-files.ts";

const at = temporaryFolder();

beforeAll(async () => {
  await openEngine();
});

/** The tensors of a model as far as readers look at them. */
function tensorsOf(sizes: Sizes): Map<string, TensorInfo> {
  const { width, inner, layers, queries, keys, vocabulary, normed, biased } = sizes;
  const info = (...shape: number[]): TensorInfo => ({ dtype: "BF16", shape, byteLength: 0 });
  const found = new Map([["model.embed_tokens.weight", info(vocabulary, width)]]);
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`;
    found.set(`${layer}.self_attn.q_proj.weight`, info(queries, width));
    found.set(`${layer}.self_attn.k_proj.weight`, info(keys, width));
    found.set(`${layer}.mlp.up_proj.weight`, info(inner, width));
    if (normed !== undefined) found.set(`${layer}.self_attn.q_norm.weight`, info(normed));
    if (biased) found.set(`${layer}.self_attn.q_proj.bias`, info(queries));
  }
  return found;
}

interface Sizes {
  width: number;
  inner: number;
  layers: number;
  queries: number;
  keys: number;
  vocabulary: number;
  /** components of normalized heads */
  normed?: number;
  biased?: boolean;
}

const QWEN2 = { vocabulary: 151_936, biased: true };

// config.json of these models on the Hub.
const PUBLISHED: [name: string, sizes: Sizes, config: Record<string, unknown>][] = [
  [
    "SmolLM2-135M",
    { width: 576, inner: 1536, layers: 30, queries: 576, keys: 192, vocabulary: 49_152 },
    { model_type: "llama", heads: 9, keyHeads: 3, theta: 100_000, epsilon: 1e-5, positions: 8192 },
  ],
  [
    "CodeLlama-7B",
    { width: 4096, inner: 11_008, layers: 32, queries: 4096, keys: 4096, vocabulary: 32_016 },
    { model_type: "llama", heads: 32, keyHeads: 32, theta: 1_000_000, epsilon: 1e-5, positions: 16_384 },
  ],
  [
    "Llama-3.2-1B",
    { width: 2048, inner: 8192, layers: 16, queries: 2048, keys: 512, vocabulary: 128_256 },
    { model_type: "llama", heads: 32, keyHeads: 8, theta: 500_000, epsilon: 1e-5, positions: 131_072 },
  ],
  [
    "Llama-3.1-8B",
    { width: 4096, inner: 14_336, layers: 32, queries: 4096, keys: 1024, vocabulary: 128_256 },
    { model_type: "llama", heads: 32, keyHeads: 8, theta: 500_000, epsilon: 1e-5, positions: 131_072 },
  ],
  [
    "Mistral-7B-v0.3",
    { width: 4096, inner: 14_336, layers: 32, queries: 4096, keys: 1024, vocabulary: 32_768 },
    { model_type: "mistral", heads: 32, keyHeads: 8, theta: 1_000_000, epsilon: 1e-5, positions: 32_768 },
  ],
  [
    "Qwen2.5-0.5B",
    { ...QWEN2, width: 896, inner: 4864, layers: 24, queries: 896, keys: 128 },
    { model_type: "qwen2", heads: 14, keyHeads: 2, theta: 1_000_000, epsilon: 1e-6, positions: 32_768 },
  ],
  [
    "Qwen2.5-3B",
    { ...QWEN2, width: 2048, inner: 11_008, layers: 36, queries: 2048, keys: 256 },
    { model_type: "qwen2", heads: 16, keyHeads: 2, theta: 1_000_000, epsilon: 1e-6, positions: 32_768 },
  ],
  [
    "Qwen3-0.6B",
    { width: 1024, inner: 3072, layers: 28, queries: 2048, keys: 1024, vocabulary: 151_936, normed: 128 },
    { model_type: "qwen3", heads: 16, keyHeads: 8, theta: 1_000_000, epsilon: 1e-6, positions: 40_960 },
  ],
  [
    "SmolLM3-3B",
    { width: 2048, inner: 11_008, layers: 36, queries: 2048, keys: 512, vocabulary: 128_256 },
    { model_type: "smollm3", heads: 16, keyHeads: 4, theta: 5_000_000, epsilon: 1e-6, positions: 65_536 },
  ],
];

test.each(PUBLISHED)("%s is known by its shapes", (name, sizes, expected) => {
  const weights = { file: "x.safetensors", tensors: tensorsOf(sizes), rest: {}, tied: new Map<string, string>() };
  const heads = llamaWeights.heads?.(weights)?.count;
  const config = llamaWeights.config(weights, { heads });
  const { rope_theta: theta, rope_type: kind } = config.rope_parameters as Record<string, unknown>;
  expect({
    model_type: config.model_type,
    heads: config.num_attention_heads,
    keyHeads: config.num_key_value_heads,
    theta,
    epsilon: config.rms_norm_eps,
    positions: config.max_position_embeddings,
  }).toEqual(expected as never);
  expect(kind).toBe(name.startsWith("Llama-3") ? "llama3" : "default");
  expect(llamaWeights.assumed?.(weights, {}).like).toBe(name);
  // The architecture reads what was made.
  expect(llama.readConfig(config, "config.json")).toMatchObject({ heads, rotary: { theta } });
});

type Hyper = WeightsFile["rest"]["hyper_parameters"];

function weightsLike(name: string, hyper: Hyper = {}): WeightsFile {
  const [, sizes] = PUBLISHED.find(([known]) => known === name) as (typeof PUBLISHED)[number];
  return { file: "x.safetensors", tensors: tensorsOf(sizes), rest: { hyper_parameters: hyper }, tied: new Map() };
}

test("the scaling of a published model is assumed with its base only, and said", () => {
  const weights = weightsLike("Llama-3.2-1B");
  expect(llamaWeights.assumed?.(weights, {}).settings).toMatchObject({ rope_theta: 500_000, rope_type: "llama3" });
  const options = { heads: 32, ropeTheta: 20_000 };
  expect(llamaWeights.config(weights, options).rope_parameters).toEqual({ rope_type: "default", rope_theta: 20_000 });
  const { settings } = llamaWeights.assumed?.(weights, options) ?? {};
  expect(settings).toMatchObject({ rope_type: "default" });
  expect(settings).not.toHaveProperty("rope_theta");
});

test("settings of a published model are said, and those stored with the weights precede them", () => {
  const assumed = (hyper: Hyper) => llamaWeights.assumed?.(weightsLike("Mistral-7B-v0.3", hyper), {}).settings;
  const config = (hyper: Hyper) => llamaWeights.config(weightsLike("Mistral-7B-v0.3", hyper), { heads: 32 });
  expect(config({}).sliding_window).toBe(null);
  expect(assumed({})).toMatchObject({ sliding_window: null });
  expect(config({ sliding_window: 4096 }).sliding_window).toBe(4096);
  expect(assumed({ sliding_window: 4096 })).not.toHaveProperty("sliding_window");
  expect(assumed({})).toMatchObject({ model_type: "mistral" });
  expect(assumed({ model_type: "mistral" })).not.toHaveProperty("model_type");
});

test.each(["rope_scaling", "rope_parameters"])("settings stored with the weights are used, %s among them", (name) => {
  const scaling = { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
  const hyper = {
    ...{ hidden_act: "gelu_new", rope_theta: 7e5 },
    [name]: { ...scaling, original_max_position_embeddings: 4096 },
  };
  const weights = weightsLike("SmolLM2-135M", { config: hyper });
  const read = (ropeTheta?: number) =>
    llama.readConfig(llamaWeights.config(weights, { heads: 9, ropeTheta }), "config.json");
  const rotary = { theta: 7e5, scaling: { kind: "llama3", factor: 8, trained: 4096, lowFactor: 1, highFactor: 4 } };
  expect(read()).toMatchObject({ activation: "gelu_tanh", rotary });
  expect(read(9e5)).toMatchObject({ rotary: { ...rotary, theta: 9e5 } });
  const old = weightsLike("SmolLM2-135M", { rope_scaling: { type: "linear", factor: 2 } });
  expect(llama.readConfig(llamaWeights.config(old, { heads: 9 }), "config.json")).toMatchObject({
    rotary: { theta: 100_000, scaling: { kind: "linear", factor: 2 } },
  });
});

const TINY = {
  vocab_size: 40,
  hidden_size: 128,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
};

/** A file with the weights of a small model, and settings beside them. */
async function weightsOf(
  config: Record<string, unknown>,
  rename = (name: string) => name,
  settings: Parameters<typeof push.dict>[0] = {},
): Promise<string> {
  const model = createModel(llama, { ...TINY, ...config }) as Model;
  const change = (tensors: Tensors) => new Map([...tensors].map(([name, tensor]) => [rename(name), tensor]));
  const file = await writtenWeights(model, at(), { change, hyper: push.dict(settings) });
  model.dispose();
  return file;
}

const bare = (name: string) => name.replace(/^model\./, "");
const LLAMA = { model_type: "llama" };

describe("weights alone", () => {
  test.each([
    ["as they are", (name: string) => name, "model.layers.1.mlp.up_proj.weight"],
    ["of the body", bare, "layers.1.mlp.up_proj.weight"],
    ["in a module", (name: string) => `module._orig_mod.${name}`, "model.layers.1.mlp.up_proj.weight"],
    ["in a model", (name: string) => `state_dict.model.${name}`, "model.layers.1.mlp.up_proj.weight"],
  ])("%s keep the prefix that belongs to them", async (_, rename, stored) => {
    for (const tied of [true, false]) {
      const file = await weightsOf({ ...LLAMA, tie_word_embeddings: tied }, rename);
      const { config, tensors } = (await recognizeFile(file)) as Recognized;
      expect({ tied: config.tie_word_embeddings, has: tensors.tensors.has(stored) }).toEqual({ tied, has: true });
    }
  });

  test("determine the family by biases and normalizations of heads", async () => {
    const families = ["llama", "qwen2", "qwen3"];
    for (const model_type of families) {
      const file = await weightsOf({ model_type, head_dim: 64 });
      expect((await recognizeFile(file))?.config.model_type).toBe(model_type);
    }
    const biased = await recognizeFile(await weightsOf({ ...LLAMA, attention_bias: true, mlp_bias: true }));
    expect(biased?.config).toMatchObject({ model_type: "llama", attention_bias: true, mlp_bias: true });
  });

  test("have usual settings, unless flags or settings stored with them give others", async () => {
    const file = await weightsOf(LLAMA);
    const usual = { rope_theta: 10_000, rms_norm_eps: 1e-5, max_position_embeddings: 2048 };
    expect((await recognizeFile(file))?.assumed).toEqual({ heads: 2, headSize: 64, like: undefined, settings: usual });
    const { config, assumed } = (await recognizeFile(file, { heads: 4, ropeTheta: 500_000 })) as Recognized;
    expect(config).toMatchObject({ num_attention_heads: 4, head_dim: 32, num_key_value_heads: 2 });
    expect(config.rope_parameters).toEqual({ rope_type: "default", rope_theta: 500_000 });
    expect(assumed).toEqual({
      like: undefined,
      settings: { rms_norm_eps: 1e-5, max_position_embeddings: 2048 },
    });
    const beside = { config: push.dict({ max_position_embeddings: push.int(99), num_attention_heads: push.int(8) }) };
    const stored = await recognizeFile(await weightsOf(LLAMA, undefined, beside));
    expect(stored?.config).toMatchObject({ num_attention_heads: 8, max_position_embeddings: 99 });
    expect(stored?.assumed.heads).toBeUndefined();
  });

  test("end texts with the tokens of the settings stored with them", async () => {
    const ends = (value: Uint8Array) => push.dict({ bos_token_id: push.int(1), eos_token_id: value });
    const one = await recognizeFile(await weightsOf(LLAMA, undefined, { config: ends(push.int(7)) }));
    expect(one?.config).toMatchObject({ bos_token_id: 1, eos_token_id: 7 });
    const two = await recognizeFile(
      await weightsOf(LLAMA, undefined, { config: ends(push.list(push.int(7), push.int(9))) }),
    );
    expect(two?.config.eos_token_id).toEqual([7, 9]);
    expect(llama.readConfig(two?.config ?? {}, "config.json")).toMatchObject({ endOfText: [7, 9] });
    expect((await recognizeFile(await weightsOf(LLAMA)))?.config.eos_token_id).toBe(null);
  });

  test("without a head are assumed to be tied, and so reported, unless the stored settings contradict it", async () => {
    const beside = (tied: boolean) => ({ config: push.dict({ tie_word_embeddings: bytesOf(tied ? 0x88 : 0x89) }) });
    const tied = { ...LLAMA, tie_word_embeddings: true };
    const assumed = await recognizeFile(await weightsOf(tied, bare));
    expect(assumed?.config.tie_word_embeddings).toBe(true);
    expect(assumed?.assumed.settings).toMatchObject({ tie_word_embeddings: true });
    const stored = await recognizeFile(await weightsOf(tied, bare, beside(true)));
    expect(stored?.assumed.settings).not.toHaveProperty("tie_word_embeddings");
    await expect(recognizeFile(await weightsOf(tied, bare, beside(false)))).rejects.toThrow(
      'tensor "lm_head.weight": is missing',
    );
  });

  test("that do not determine their heads name the flag, and a flag that contradicts them is refused", async () => {
    const narrow = await weightsOf({ ...LLAMA, hidden_size: 24, num_attention_heads: 3 });
    await expect(recognizeFile(narrow)).rejects.toThrow(
      "does not tell how many heads it has; say how many with --heads",
    );
    expect((await recognizeFile(narrow, { heads: 3 }))?.config.head_dim).toBe(8);
    await expect(recognizeFile(narrow, { heads: 5 })).rejects.toThrow("5 heads must divide its 24 rows");
    const normed = await weightsOf({ model_type: "qwen3", head_dim: 32 });
    expect((await recognizeFile(normed))?.config).toMatchObject({ num_attention_heads: 2, head_dim: 32 });
    await expect(recognizeFile(normed, { heads: 4 })).rejects.toThrow(
      "has 2 heads by its tensors, not the 4 of --heads",
    );
  });
});
