// GPT-2 as the workbench knows an architecture: names and shapes of its parameters, its linear layers, its counts.
// Radford et al. 2019; names are those of Hugging Face's GPT2Model. What it computes is in forward.ts.

import { countGpt2, GPT2_MEDIUM, GPT2_SMALL, type Gpt2Size } from "../../structures/counting/gpt2.ts";
import type { Architecture, LayerInfo, ParameterInfo } from "../architecture.ts";
import { type Gpt2Config, readGpt2Config } from "./config.ts";

export const HEAD = "lm_head.weight";
/** Buffers of older checkpoints: the causal mask and what it fills in. */
const MASKS = /^h\.\d+\.attn\.(bias|masked_bias)$/;
const DEVIATION = 0.02;

export const gpt2: Architecture<Gpt2Config> = {
  type: "gpt2",
  prefixes: ["", "transformer.", "model.transformer."],
  storedName: (name, prefix) => (name === HEAD ? headPrefix(prefix) : prefix) + name,
  parameterName: (stored, prefix) =>
    stored === headPrefix(prefix) + HEAD ? HEAD : stored.startsWith(prefix) ? stored.slice(prefix.length) : stored,
  readConfig: readGpt2Config,
  ignores: (name, { tiedHead }) => MASKS.test(name) || (tiedHead && name === HEAD),
  mayHaveMoreRows: (name) => name === "wte.weight" || name === HEAD,
  parameters,
  layers,
  converts: (layer) => !layer.endsWith("attn.c_proj"),
  count: (config, costs) => countGpt2(sizeOf(config), costs),
};

/** The head lies beside the body: `transformer.` is not before its name. */
const headPrefix = (prefix: string): string => prefix.replace(/transformer\.$/, "");

function parameters({ blocks, width, positions, vocabulary, innerWidth, tiedHead }: Gpt2Config) {
  const found = new Map<string, ParameterInfo>();
  const matrix = (name: string, shape: [number, number], deviation = DEVIATION) =>
    found.set(name, { shape, start: { kind: "normal", deviation } });
  const norm = (name: string) => {
    found.set(`${name}.weight`, { shape: [width], start: { kind: "ones" } });
    found.set(`${name}.bias`, { shape: [width], start: { kind: "zeros" } });
  };
  const layer = (name: string, [nIn, nOut]: [number, number], deviation = DEVIATION) => {
    matrix(`${name}.weight`, [nIn, nOut], deviation);
    found.set(`${name}.bias`, { shape: [nOut], start: { kind: "zeros" } });
  };
  // Radford et al. 2019, section 2.3: what adds to the residual stream starts smaller the more blocks add to it.
  const residual = DEVIATION / Math.sqrt(2 * blocks);
  matrix("wte.weight", [vocabulary, width]);
  matrix("wpe.weight", [positions, width]);
  for (let i = 0; i < blocks; i++) {
    norm(`h.${i}.ln_1`);
    layer(`h.${i}.attn.c_attn`, [width, 3 * width]);
    layer(`h.${i}.attn.c_proj`, [width, width], residual);
    norm(`h.${i}.ln_2`);
    layer(`h.${i}.mlp.c_fc`, [width, innerWidth]);
    layer(`h.${i}.mlp.c_proj`, [innerWidth, width], residual);
  }
  norm("ln_f");
  if (!tiedHead) matrix(HEAD, [vocabulary, width]);
  return found;
}

function layers({ blocks, width, innerWidth }: Gpt2Config): LayerInfo[] {
  const layout = "in_out";
  return Array.from({ length: blocks }, (_, i): LayerInfo[] => [
    { name: `h.${i}.attn.c_attn`, nIn: width, nOut: 3 * width, layout },
    { name: `h.${i}.attn.c_proj`, nIn: width, nOut: width, layout },
    { name: `h.${i}.mlp.c_fc`, nIn: width, nOut: innerWidth, layout },
    { name: `h.${i}.mlp.c_proj`, nIn: innerWidth, nOut: width, layout },
  ]).flat();
}

/** The published constants for the two published sizes; for any other, the reference's own count of the dense model. */
function sizeOf({ blocks, width, vocabulary, positions, innerWidth }: Gpt2Config): Gpt2Size {
  const size = { blocks, width, vocabulary, tokens: positions, innerWidth };
  const published = [GPT2_SMALL, GPT2_MEDIUM].find(
    (known) =>
      known.blocks === blocks && known.width === width && known.tokens === positions && innerWidth === 4 * width,
  );
  if (published) return { ...published, vocabulary };
  const dense = countGpt2({ ...size, publishedDense: 1 }).reference.total;
  return { ...size, publishedDense: dense };
}
