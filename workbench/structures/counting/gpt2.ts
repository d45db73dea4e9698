// GPT-2 in multiply-adds for one full sequence. The reference counts the structured layers, one of the two attention
// products (both are causal: half of each), and attention's output projection as dense whatever it is; no normalization,
// no output head.

import { type Counts, counted, type LayerCosts, type Parts, sumOver, totalOf } from "../../architectures/count.ts";
import { denseRow, expectLayers, LAYER_NORM_PER_ENTRY, type LinearLayer } from "./layers.ts";

export interface Gpt2Size {
  blocks: number;
  /** n, of the residual stream */
  width: number;
  /** of the layer in the middle of each MLP. Default 4 · width */
  innerWidth?: number;
  vocabulary: number;
  /** tokens that the count is for */
  tokens: number;
  /** the dense total that published relative costs divide by, rounded as there */
  publishedDense: number;
}

export const GPT2_SMALL: Gpt2Size = {
  blocks: 12,
  width: 768,
  vocabulary: 50257,
  tokens: 1024,
  publishedDense: 9.66e10,
};

export const GPT2_MEDIUM: Gpt2Size = { ...GPT2_SMALL, blocks: 24, width: 1024, publishedDense: 3.35e11 };

/** The linear layers of all blocks by the checkpoint's names. */
export function gpt2Layers({ blocks, width, innerWidth = 4 * width }: Gpt2Size): LinearLayer[] {
  return Array.from({ length: blocks }, (_, i) => [
    { name: `h.${i}.attn.c_attn`, nOut: 3 * width, nIn: width },
    { name: `h.${i}.${PROJECTION}`, nOut: width, nIn: width },
    { name: `h.${i}.mlp.c_fc`, nOut: innerWidth, nIn: width },
    { name: `h.${i}.mlp.c_proj`, nOut: width, nIn: innerWidth },
  ]).flat();
}

const PROJECTION = "attn.c_proj";

/**
 * @param costs of structured layers; all others count as dense
 * @throws EngineError when it names a layer that is not there
 */
export function countGpt2(size: Gpt2Size, costs: LayerCosts = {}): Counts {
  expectLayers("GPT-2", costs, gpt2Layers(size));
  return {
    reference: counted(referenceParts(size, costs), size.publishedDense),
    actual: counted(actualParts(size, costs), totalOf(actualParts(size, {}))),
  };
}

function referenceParts(size: Gpt2Size, costs: LayerCosts): Parts {
  const { blocks, width, tokens } = size;
  const structured = gpt2Layers(size).filter(({ name }) => !name.endsWith(PROJECTION));
  return {
    linears: tokens * sumOver(structured, (layer) => costs[layer.name] ?? denseRow(layer)),
    "attention products, causal": blocks * tokens ** 2 * width,
    "attention projections": blocks * tokens * width ** 2,
  };
}

// Both attention products in full: kernels that skip what the mask hides do at best half of it.
function actualParts(size: Gpt2Size, costs: LayerCosts): Parts {
  const { blocks, width, tokens, vocabulary } = size;
  return {
    linears: tokens * sumOver(gpt2Layers(size), (layer) => costs[layer.name] ?? denseRow(layer)),
    "attention scores": blocks * tokens ** 2 * width,
    "attention values": blocks * tokens ** 2 * width,
    "layer norms": (2 * blocks + 1) * tokens * width * LAYER_NORM_PER_ENTRY,
    head: tokens * width * vocabulary,
  };
}
