// Llama and its relatives as llama.cpp knows them: llama (also for Mistral), qwen2, qwen3 and smollm3. Settings that
// change the result and that llama.cpp does not have are refused by name.

import { count, type Entries, number, text } from "../../../hub/gguf/entries.ts";
import { LLAMA_VARIANTS, type LlamaVariant, llamaTensors } from "../../../hub/gguf/llama-family.ts";
import { FACTORS, llama3Factor } from "../../../hub/gguf/rope.ts";
import type { WrittenTensor } from "../../../hub/gguf/write.ts";
import { baseModelType } from "../../../hub/python/index.ts";
import type { LlamaConfig } from "../../architectures/llama/config.ts";
import type { Model } from "../../models/index.ts";
import { type GgufPlan, notInLlamaCpp } from "./plan.ts";

/** llama.cpp's SmolLM3 has no rotary positions in each fourth block. */
const EACH_WITHOUT_ROTARY = 4;

/** @throws EngineError for a setting that llama.cpp does not have */
export function llamaPlan({ config, json }: Model<LlamaConfig>): GgufPlan {
  const type = baseModelType(String(json.model_type ?? "llama"));
  const architecture = type === "mistral" ? "llama" : type;
  const variant = LLAMA_VARIANTS.get(architecture) as LlamaVariant;
  expectUsual(config, type);
  const { width, heads, keyValueHeads: keyHeads, headSize: headDim, innerWidth: inner, vocabulary } = config;
  const { biases, blocks, epsilon, positions, rotary, tiedHead: tied } = config;
  const sizes = { layers: blocks.length, width, inner, heads, keyHeads, headDim, vocabulary };
  const has = { attention: biases.queriesKeysValues, mlp: biases.mlp };
  return {
    architecture,
    prefix: "model.",
    metadata: {
      block_count: count(blocks.length),
      context_length: count(positions),
      embedding_length: count(width),
      feed_forward_length: count(inner),
      "attention.head_count": count(heads),
      "attention.head_count_kv": count(keyHeads),
      "attention.key_length": count(headDim),
      "attention.value_length": count(headDim),
      "attention.layer_norm_rms_epsilon": number(epsilon),
      vocab_size: count(vocabulary),
      "rope.dimension_count": count(headDim),
      "rope.freq_base": number(rotary.theta),
      ...scalingOf(config),
    },
    tensors: llamaTensors(sizes, variant, { biases: has, tied }),
    others: factorsOf(config),
  };
}

function expectUsual(config: LlamaConfig, type: string): void {
  const { activation, biases, blocks, heads, headSize, positions, rotary, width } = config;
  if (type === "qwen2" && heads * headSize !== width) {
    throw notInLlamaCpp(
      `llama.cpp's qwen2 needs heads that fill the width ${width}; this model has ${heads} of ${headSize}`,
    );
  }
  if (activation !== "silu") {
    throw notInLlamaCpp(`llama.cpp computes ${type} with silu; hidden_act of this model is ${activation}`);
  }
  if (rotary.size !== headSize) {
    throw notInLlamaCpp(`partial_rotary_factor turns ${rotary.size} of ${headSize} components, llama.cpp all of them`);
  }
  const window = blocks.find((block) => (block.window ?? positions) < positions)?.window;
  if (window !== undefined) {
    throw notInLlamaCpp(
      `llama.cpp has no sliding windows for ${type}; this model has one of ${window} tokens of ${positions}`,
      `set max_position_embeddings to ${window} in config.json for texts within the window`,
    );
  }
  const other = blocks.findIndex(
    (block, i) => block.rotary !== (type !== "smollm3" || (i + 1) % EACH_WITHOUT_ROTARY !== 0),
  );
  if (other >= 0) {
    throw notInLlamaCpp(
      `llama.cpp's smollm3 has rotary positions in all but each fourth block; block ${other} differs`,
    );
  }
  const which = Object.entries(biases).find(([, has]) => has)?.[0];
  if (UNBIASED.has(type) && which !== undefined) {
    throw notInLlamaCpp(`llama.cpp's ${type} has no biases; this model has some (${which})`);
  }
}

/** Types whose output or MLP biases llama.cpp does not read. */
const UNBIASED: ReadonlySet<string> = new Set(["qwen3", "smollm3"]);

function scalingOf({ rotary: { scaling } }: LlamaConfig): Entries {
  switch (scaling.kind) {
    case "default":
    case "llama3": // in a tensor
      return {};
    case "linear":
      return { "rope.scaling.type": text("linear"), "rope.scaling.factor": number(scaling.factor) };
    case "yarn":
      return yarnOf(scaling);
    case "dynamic":
      throw notInLlamaCpp("llama.cpp has no rotary positions of rope_type dynamic");
  }
}

type Scaling = LlamaConfig["rotary"]["scaling"];

/** Usual numbers of rotations, llama.cpp's defaults. */
const [FAST, SLOW] = [32, 1];

function yarnOf({
  factor,
  trained,
  betaFast,
  betaSlow,
  truncate,
  attentionFactor,
}: Scaling & { kind: "yarn" }): Entries {
  const usual = factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1;
  if (!truncate) throw notInLlamaCpp("llama.cpp has no YaRN with truncate false");
  if (Math.abs(attentionFactor - usual) > 1e-6) {
    throw notInLlamaCpp(`llama.cpp's YaRN has the attention factor ${usual} here; this model has ${attentionFactor}`);
  }
  return {
    "rope.scaling.type": text("yarn"),
    "rope.scaling.factor": number(factor),
    "rope.scaling.original_context_length": count(trained),
    ...(betaFast !== FAST && { "rope.scaling.yarn_beta_fast": number(betaFast) }),
    ...(betaSlow !== SLOW && { "rope.scaling.yarn_beta_slow": number(betaSlow) }),
  };
}

/** The factor of each frequency, for Llama 3.1's scaling. */
function factorsOf({ headSize, rotary: { theta, scaling } }: LlamaConfig): WrittenTensor[] {
  if (scaling.kind !== "llama3") return [];
  const shape = [headSize / 2];
  const factors = Float32Array.from({ length: headSize / 2 }, (_, i) =>
    llama3Factor(theta ** ((2 * i) / headSize), scaling),
  );
  const data = async function* () {
    yield new Uint8Array(factors.buffer);
  };
  return [{ name: FACTORS, type: "F32", shape, data }];
}
