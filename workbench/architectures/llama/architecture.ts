// Declares Llama and the families that share its forward pass (Touvron et al. 2023): modules of the network, tensor
// names, task and Python classes. Names are those of Hugging Face's LlamaModel. The forward pass is in forward.ts.

import type { Tensor2D } from "@tensorflow/tfjs-core";
import type { Architecture, TensorNames } from "../architecture.ts";
import {
  type CountedPart,
  type LinearOptions,
  linearLayer,
  type Module,
  normal,
  parameter,
  rmsNormModule,
  ZEROS,
} from "../network.ts";
import { usualContext } from "../parts/language-model.ts";
import { llamaWeights } from "./checkpoint.ts";
import { type LlamaConfig, readLlamaConfig } from "./config.ts";
import { FAMILIES } from "./families.ts";
import { llamaHidden, llamaStepwise } from "./forward.ts";
import { llamaSymmetries } from "./symmetries.ts";

const EMBEDDING = "embed_tokens.weight";
const HEAD = "lm_head.weight";
const BODY = "model.";
/** Buffers of older checkpoints: the frequencies of rotary positions. */
const FREQUENCIES = /(^|\.)rotary_emb\.inv_freq$/;

/** The names of the head have no prefix, because it is not a part of the body. */
const names: TensorNames<LlamaConfig> = {
  prefixes: [BODY, ""],
  storedName: (name, prefix) => (name === HEAD ? HEAD : prefix + name),
  parameterName: (stored, prefix) =>
    stored !== HEAD && stored.startsWith(prefix) ? stored.slice(prefix.length) : stored,
  tied: ({ tiedHead }) => new Map(tiedHead ? [[HEAD, EMBEDDING]] : []),
  ignores: (name) => FREQUENCIES.test(name),
  mayHaveMoreRows: (name) => name === EMBEDDING || name === HEAD,
};

/** The architecture Llama, with Mistral, Qwen2, Qwen3 and SmolLM3. */
export const llama: Architecture<LlamaConfig> = {
  type: "llama",
  modelTypes: Object.keys(FAMILIES),
  title: "Llama",
  task: {
    kind: "text-generation",
    sizes: ({ positions, vocabulary, width, endOfText }) => ({ positions, vocabulary, width, endOfText }),
    hidden: llamaHidden,
    stepwise: llamaStepwise,
    head: (model) => model.parameter(model.config.tiedHead ? EMBEDDING : HEAD) as unknown as Tensor2D,
  },
  readConfig: readLlamaConfig,
  network,
  symmetries: llamaSymmetries,
  names,
  weights: llamaWeights,
  python: {
    module: "gblr_llama",
    auto: "AutoModelForCausalLM",
    body: "model",
    own: Object.fromEntries(
      Object.entries(FAMILIES).map(([type, { title }]) => {
        const base = `${title}ForCausalLM`;
        return [type, { base, model: `Gblr${base}`, config: `Gblr${title}Config` }];
      }),
    ),
  },
};

function network(config: LlamaConfig): Module[] {
  const { width, heads, keyValueHeads, headSize, innerWidth, vocabulary, biases, normedHeads } = config;
  // Counts are those of a usual sequence, because the products of attention grow with the square of its length.
  const rows = usualContext(config);
  const start = normal(config.deviation);
  const layer = (name: string, [nIn, nOut]: [number, number], biased: boolean) => {
    const options: LinearOptions = { name, nIn, nOut, layout: "out_in", rows, start };
    return linearLayer(biased ? { ...options, bias: ZEROS } : options);
  };
  const norm = (name: string, size = width, counted = rows) =>
    rmsNormModule(name, { width: size, rows: counted, in: "actual" });
  const block = (name: string): Module[] => [
    norm(`${name}.input_layernorm`),
    layer(`${name}.self_attn.q_proj`, [width, heads * headSize], biases.queriesKeysValues),
    layer(`${name}.self_attn.k_proj`, [width, keyValueHeads * headSize], biases.queriesKeysValues),
    layer(`${name}.self_attn.v_proj`, [width, keyValueHeads * headSize], biases.queriesKeysValues),
    ...(normedHeads
      ? [
          norm(`${name}.self_attn.q_norm`, headSize, rows * heads),
          norm(`${name}.self_attn.k_norm`, headSize, rows * keyValueHeads),
        ]
      : []),
    layer(`${name}.self_attn.o_proj`, [heads * headSize, width], biases.output),
    norm(`${name}.post_attention_layernorm`),
    layer(`${name}.mlp.gate_proj`, [width, innerWidth], biases.mlp),
    layer(`${name}.mlp.up_proj`, [width, innerWidth], biases.mlp),
    layer(`${name}.mlp.down_proj`, [innerWidth, width], biases.mlp),
  ];
  return [
    parameter(EMBEDDING, [vocabulary, width], start),
    ...config.blocks.flatMap((_, i) => block(`layers.${i}`)),
    norm("norm"),
    config.tiedHead ? {} : parameter(HEAD, [vocabulary, width], start),
    { parts: partsOf(config, rows) },
  ];
}

/**
 * What cannot be structured, as GPT-2 counts it: the reference count has half of each attention product, because of the
 * causal mask, and neither normalizations nor the head. The actual count has the products in full; kernels that use the
 * mask save at most half of them. A query of a block with a window has no more keys than the window.
 */
function partsOf({ blocks, heads, keyValueHeads, headSize, rotary, width, vocabulary }: LlamaConfig, rows: number) {
  const sum = (each: (keys: number) => number) =>
    blocks.reduce((total, { window = rows }) => total + each(Math.min(window, rows)) * heads * headSize, 0);
  const product = sum((keys) => rows * keys);
  const turned = blocks.filter((block) => block.rotary).length * rows * (heads + keyValueHeads) * rotary.size;
  const parts: CountedPart[] = [
    { name: "attention products, causal", multiplyAdds: sum((keys) => keys * (2 * rows - keys)), in: "reference" },
    { name: "attention scores", multiplyAdds: product, in: "actual" },
    { name: "attention values", multiplyAdds: product, in: "actual" },
    { name: "rotary positions", multiplyAdds: 2 * turned, in: "actual" },
    { name: "head", multiplyAdds: rows * width * vocabulary, in: "actual" },
  ];
  return parts;
}
