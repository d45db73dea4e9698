// Sizes of transformers from the numbers of their configuration: what a step must compute, send and hold. Biases and
// normalizations count as parameters only.

/** The shape of a decoder. */
export interface Transformer {
  name: string;
  blocks: number;
  /** values of a token between blocks */
  width: number;
  /** values of the keys of a token, all heads together; as many of the values */
  keys: number;
  /** values within the MLP */
  inner: number;
  vocabulary: number;
  /** tokens of a window */
  context: number;
  /** GPT-2: biases, learned positions, and the embedding is the head too. Llama: gated MLPs, and a head of its own */
  family: "gpt2" | "llama";
}

/** Parameters in the matrices of one block. */
const matricesOf = ({ width, keys, inner, family }: Transformer): number =>
  2 * width ** 2 + 2 * width * keys + (family === "llama" ? 3 : 2) * width * inner;

/** Parameters of the blocks and the last normalization: their gradients are complete while the backward pass goes on. */
export function bodyParameters(model: Transformer): number {
  const { blocks, width, keys, inner, family } = model;
  const vectors = family === "gpt2" ? 2 * width + 2 * keys + inner + width + 4 * width : 2 * width;
  return blocks * (matricesOf(model) + vectors) + (family === "gpt2" ? 2 : 1) * width;
}

/** Parameters of the head, if it is not the embedding: their gradients are complete first. */
export const headParameters = ({ vocabulary, width, family }: Transformer): number =>
  family === "llama" ? vocabulary * width : 0;

/** Parameters of the embeddings: their gradients are complete when the backward pass ends. */
export const embeddingParameters = ({ vocabulary, width, context, family }: Transformer): number =>
  (vocabulary + (family === "gpt2" ? context : 0)) * width;

/** All parameters. */
export const parametersOf = (model: Transformer): number =>
  headParameters(model) + bodyParameters(model) + embeddingParameters(model);

/**
 * Floating-point operations of forward and backward pass for one token: 6 for each parameter in a product, and
 * 12 · context · width a block for the scores of attention and their use. Masked scores are counted.
 */
export const flopsPerToken = (model: Transformer): number =>
  6 * (model.blocks * matricesOf(model) + model.vocabulary * model.width) +
  12 * model.blocks * model.context * model.width;

/**
 * Values of one token that a block keeps for its backward pass: inputs of products, of normalizations and of the
 * activation function; scores of attention are computed again (flash attention). For GPT-2 16 widths.
 */
export const keptValues = ({ width, keys, inner, family }: Transformer): number =>
  6 * width + 2 * keys + (family === "llama" ? 3 : 2) * inner;
