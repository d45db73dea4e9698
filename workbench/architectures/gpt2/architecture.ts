// Declares GPT-2 (Radford et al. 2019): modules of the network, tensor names, task and Python classes. Names are those
// of Hugging Face's GPT2Model. The forward pass is in forward.ts.

import type { Tensor2D } from "@tensorflow/tfjs-core";
import type { Architecture, TensorNames } from "../architecture.ts";
import {
  type CountedPart,
  type LinearOptions,
  layerNormModule,
  linearLayer,
  type Module,
  normal,
  parameter,
  ZEROS,
} from "../network.ts";
import { gpt2Reference, gpt2Weights } from "./checkpoint.ts";
import { type Gpt2Config, readGpt2Config } from "./config.ts";
import { gpt2Hidden, gpt2Stepwise } from "./forward.ts";
import { gpt2Symmetries } from "./symmetries.ts";

const HEAD = "lm_head.weight";
/** Buffers of older checkpoints: the causal mask, and the value that masked scores get. */
const MASKS = /^h\.\d+\.attn\.(bias|masked_bias)$/;
const DEVIATION = 0.02;

const names: TensorNames<Gpt2Config> = {
  prefixes: ["", "transformer.", "model.transformer."],
  storedName: (name, prefix) => (name === HEAD ? headPrefix(prefix) : prefix) + name,
  parameterName: (stored, prefix) =>
    stored === headPrefix(prefix) + HEAD ? HEAD : stored.startsWith(prefix) ? stored.slice(prefix.length) : stored,
  tied: ({ tiedHead }) => new Map(tiedHead ? [[HEAD, "wte.weight"]] : []),
  ignores: (name) => MASKS.test(name),
  mayHaveMoreRows: (name) => name === "wte.weight" || name === HEAD,
};

/** The prefix of the head: that of the body without `transformer.`, because the head is not a part of the body. */
const headPrefix = (prefix: string): string => prefix.replace(/transformer\.$/, "");

/** The architecture GPT-2. */
export const gpt2: Architecture<Gpt2Config> = {
  type: "gpt2",
  title: "GPT-2",
  task: {
    kind: "text-generation",
    sizes: ({ positions, vocabulary, width, endOfText }) => ({ positions, vocabulary, width, endOfText }),
    hidden: gpt2Hidden,
    stepwise: gpt2Stepwise,
    head: (model) => model.parameter(model.config.tiedHead ? "wte.weight" : HEAD) as unknown as Tensor2D,
  },
  readConfig: readGpt2Config,
  network,
  symmetries: gpt2Symmetries,
  publishedTotal,
  names,
  weights: gpt2Weights,
  reference: gpt2Reference,
  python: {
    module: "gblr_gpt2",
    auto: "AutoModelForCausalLM",
    body: "transformer",
    own: { gpt2: { base: "GPT2LMHeadModel", model: "GblrGPT2LMHeadModel", config: "GblrGPT2Config" } },
    tokenizer: "GPT2Tokenizer",
  },
};

function network({ blocks, width, positions, vocabulary, innerWidth, tiedHead }: Gpt2Config): Module[] {
  const rows = positions;
  const start = normal(DEVIATION);
  // The initial weights of layers that write to the residual stream are smaller in deeper models (Radford et al. 2019,
  // section 2.3).
  const residual = normal(DEVIATION / Math.sqrt(2 * blocks));
  const layer = (name: string, nIn: number, nOut: number, options: Partial<LinearOptions> = {}) =>
    linearLayer({ name, nIn, nOut, layout: "in_out", rows, countedAs: LINEARS, start, bias: ZEROS, ...options });
  const norm = (name: string) => layerNormModule(name, { width, rows, in: "actual" });
  return [
    parameter("wte.weight", [vocabulary, width], start),
    parameter("wpe.weight", [positions, width], start),
    ...Array.from({ length: blocks }, (_, i) => [
      norm(`h.${i}.ln_1`),
      layer(`h.${i}.attn.c_attn`, width, 3 * width),
      // The reference never structures attention's output projection and always counts it as dense.
      layer(`h.${i}.attn.c_proj`, width, width, { start: residual, inRecipe: false, ...PROJECTION }),
      norm(`h.${i}.ln_2`),
      layer(`h.${i}.mlp.c_fc`, width, innerWidth),
      layer(`h.${i}.mlp.c_proj`, innerWidth, width, { start: residual }),
    ]).flat(),
    norm("ln_f"),
    tiedHead ? {} : parameter(HEAD, [vocabulary, width], start),
    { parts: partsOf({ products: blocks * rows ** 2 * width, head: rows * width * vocabulary }) },
  ];
}

const LINEARS = { reference: "linears", actual: "linears" };
/** Counting options of attention's output projection, see LayerInfo. */
const PROJECTION = { referenceRows: 0, countedAs: { ...LINEARS, reference: "attention projections" } };

/**
 * The reference counts half of each attention product, because of the causal mask, and neither normalizations nor the
 * head. The actual count has both products in full; kernels that use the mask save at most half of it.
 */
const partsOf = ({ products, head }: { products: number; head: number }): CountedPart[] => [
  { name: "attention products, causal", multiplyAdds: products, in: "reference" },
  { name: "attention scores", multiplyAdds: products, in: "actual" },
  { name: "attention values", multiplyAdds: products, in: "actual" },
  { name: "head", multiplyAdds: head, in: "actual" },
];

/** Multiply-adds of the dense model by which published tables divide, for the two published sizes. */
const PUBLISHED = [
  { blocks: 12, width: 768, positions: 1024, innerWidth: 4 * 768, total: 9.66e10 },
  { blocks: 24, width: 1024, positions: 1024, innerWidth: 4 * 1024, total: 3.35e11 },
];

function publishedTotal({ blocks, width, positions, innerWidth }: Gpt2Config): number | undefined {
  return PUBLISHED.find(
    (known) =>
      known.blocks === blocks &&
      known.width === width &&
      known.positions === positions &&
      known.innerWidth === innerWidth,
  )?.total;
}
