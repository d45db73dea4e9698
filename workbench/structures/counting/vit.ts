// Vision transformers in multiply-adds for one image. The reference counts structured layers at the patches, leaving out
// the class token, and none of the two attention products; a model without structured layers it counts by another tool,
// which sees one of the two.

import { type Counts, counted, type LayerCosts, type Parts, sumOver, totalOf } from "../../architectures/count.ts";
import { denseRow, expectLayers, LAYER_NORM_PER_ENTRY, type LinearLayer } from "./layers.ts";

export interface VitSize {
  blocks: number;
  width: number;
  /** of the layer in the middle of each MLP. Default 4 · width */
  innerWidth?: number;
  /** rows and columns of the image */
  image: number;
  /** rows and columns of a patch */
  patch: number;
  /** of the image */
  colors: number;
  classes: number;
  /** whether a token of its own is before the patches. Default true */
  classToken?: boolean;
  /** width of a layer before the head. Default none */
  representation?: number | undefined;
  /** the dense total that published relative costs divide by, rounded as there */
  publishedDense: number;
}

/** ViT-B/16 at 224 × 224. */
export const VIT_B_16: VitSize = {
  blocks: 12,
  width: 768,
  image: 224,
  patch: 16,
  colors: 3,
  classes: 1000,
  publishedDense: 1.72e10,
};

/** The linear layers of all blocks, queries, keys and values apart. */
export function vitLayers({ blocks, width, innerWidth = 4 * width }: VitSize): LinearLayer[] {
  return Array.from({ length: blocks }, (_, i) => [
    ...["q_proj", "k_proj", "v_proj", "proj"].map((part) => ({
      name: `blocks.${i}.attn.${part}`,
      nOut: width,
      nIn: width,
    })),
    { name: `blocks.${i}.mlp.fc1`, nOut: innerWidth, nIn: width },
    { name: `blocks.${i}.mlp.fc2`, nOut: width, nIn: innerWidth },
  ]).flat();
}

/**
 * @param costs of structured layers; all others count as dense
 * @throws EngineError when it names a layer that is not there
 */
export function countVit(size: VitSize, costs: LayerCosts = {}): Counts {
  expectLayers("ViT", costs, vitLayers(size));
  return {
    reference: counted(referenceParts(size, costs), size.publishedDense),
    actual: counted(actualParts(size, costs), totalOf(actualParts(size, {}))),
  };
}

function sharedParts(size: VitSize) {
  const { blocks, width, image, patch, colors, classes, classToken = true, representation } = size;
  const patches = Math.floor(image / patch) ** 2;
  const tokens = patches + (classToken ? 1 : 0);
  return {
    patches,
    tokens,
    attentionProduct: blocks * tokens ** 2 * width,
    parts: {
      "patch embedding": patches * width * colors * patch ** 2,
      "layer norms": (2 * blocks + 1) * tokens * width * LAYER_NORM_PER_ENTRY,
      head: representation === undefined ? width * classes : representation * (width + classes),
    },
  };
}

function referenceParts(size: VitSize, costs: LayerCosts): Parts {
  const { patches, tokens, attentionProduct, parts } = sharedParts(size);
  const layers = vitLayers(size);
  const dense = layers.filter(({ name }) => costs[name] === undefined);
  const structured = layers.filter(({ name }) => costs[name] !== undefined && !isUnreached(name, costs));
  return {
    ...parts,
    linears: tokens * sumOver(dense, denseRow),
    "structured linears": patches * sumOver(structured, ({ name }) => costs[name] ?? 0),
    "attention values": dense.length === layers.length ? attentionProduct : 0,
  };
}

// Nothing depends on queries and keys where all values are 0, nor on fc2's input where fc1 gives none.
function isUnreached(name: string, costs: LayerCosts): boolean {
  const source = name.replace(/[qk]_proj$/, "v_proj").replace(/fc2$/, "fc1");
  return source !== name && costs[source] === 0;
}

function actualParts(size: VitSize, costs: LayerCosts): Parts {
  const { tokens, attentionProduct, parts } = sharedParts(size);
  return {
    ...parts,
    linears: tokens * sumOver(vitLayers(size), (layer) => costs[layer.name] ?? denseRow(layer)),
    "attention scores": attentionProduct,
    "attention values": attentionProduct,
  };
}
