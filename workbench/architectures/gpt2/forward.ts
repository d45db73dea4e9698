// GPT-2's forward pass, from token ids to the hidden states after the last normalization: embeddings, then pre-norm
// blocks of attention and MLP (Radford et al. 2019). Logits, losses and generation are the same for all language
// models, see parts/.

import {
  add,
  mul,
  relu,
  sigmoid,
  slice,
  split,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  tanh,
  tidy,
} from "@tensorflow/tfjs-core";
import { type Activation, embedding } from "../../engine/ops/index.ts";
import { expectOperand } from "../../engine/ops/operands.ts";
import { attend, inHeads, outOfHeads } from "../parts/attention.ts";
import type { AttentionCache } from "../parts/cache.ts";
import { type DropAt, dropper } from "../parts/dropout.ts";
import { normalizeLayer } from "../parts/norms.ts";
import { expectPositions, positionsOf, type Stretch } from "../parts/stretches.ts";
import type { LanguageOptions, LayerSource, Step, Stepwise } from "../task.ts";
import type { Gpt2Activation, Gpt2Config } from "./config.ts";

type Gpt2 = LayerSource<Gpt2Config>;

/**
 * Computes the hidden states to which the head is applied.
 * @param ids int32 (batch, tokens)
 * @returns float32 (batch, tokens, n)
 * @throws ShapeError if there are more tokens, those in the cache included, than the model has positions
 */
export function gpt2Hidden(model: Gpt2, ids: Tensor2D, { dropoutSeed, cache }: LanguageOptions = {}): Tensor3D {
  const { positions, dropout: rates } = model.config;
  expectOperand("gpt2", { ids }, { dtype: "int32", shape: ["batch", "tokens"] });
  const tokens = ids.shape[1];
  const stretches = cache?.stretches(tokens) ?? [{ past: 0, tokens }];
  expectPositions("gpt2", stretches, positions);
  return tidy(() => {
    const drop = dropper(dropoutSeed);
    let x = drop(embedded(model, ids, stretches), rates.embedding);
    // The tidy releases tensors that the gradient does not need after each half of a block.
    for (const step of stepsOf(model, { drop, cache })) x = tidy(() => step(x));
    cache?.advance(tokens);
    return normed(model, "ln_f", x) as Tensor3D;
  });
}

/** The forward pass without its last normalization, in steps of half a block. */
export const gpt2Stepwise: Stepwise<Gpt2Config> = {
  start: (model, ids) => embedded(model, ids as Tensor2D, [{ past: 0, tokens: ids.shape[1] as number }]),
  steps: (model) => stepsOf(model, { drop: dropper(undefined), cache: undefined }),
};

/** The embeddings of tokens at the positions of the stretches. */
function embedded(model: Gpt2, ids: Tensor2D, stretches: readonly Stretch[]): Tensor {
  return add(embedding(model.parameter("wte.weight"), ids), placesOf(model, stretches));
}

function placesOf(model: Gpt2, stretches: readonly Stretch[]): Tensor {
  const table = model.parameter("wpe.weight");
  const [first, ...others] = stretches as readonly [Stretch, ...Stretch[]];
  if (others.length > 0) return embedding(table, positionsOf(stretches));
  return slice(table, [first.past, 0], [first.tokens, model.config.width]);
}

const normed = (model: Gpt2, name: string, x: Tensor): Tensor =>
  normalizeLayer(model, name, { x, epsilon: model.config.epsilon });

/** Two steps for each block: attention and MLP, each with its normalization and its residual connection. */
function stepsOf(model: Gpt2, options: Omit<BlockOptions, "block">): Step[] {
  const { blocks, dropout } = model.config;
  const residual = (x: Tensor, branch: Tensor) => add(x, options.drop(branch, dropout.residual));
  return Array.from({ length: blocks }, (_, block) => [
    (x: Tensor) => residual(x, attention(model, normed(model, `h.${block}.ln_1`, x), { block, ...options })),
    (x: Tensor) => residual(x, mlp(model, normed(model, `h.${block}.ln_2`, x), block)),
  ]).flat();
}

interface BlockOptions {
  block: number;
  drop: DropAt;
  cache: AttentionCache | undefined;
}

function attention(model: Gpt2, x: Tensor, { block, drop, cache }: BlockOptions): Tensor {
  const { heads, width, dropout, scaleAttention, scaleAttentionByBlock } = model.config;
  const qkv = split(model.linear(`h.${block}.attn.c_attn`, x), 3, -1);
  const [q, k, v] = qkv.map((all) => inHeads(all, heads)) as [Tensor, Tensor, Tensor];
  const scale = (scaleAttention ? 1 / Math.sqrt(width / heads) : 1) / (scaleAttentionByBlock ? block + 1 : 1);
  const options = { causal: true, scale, drop, rate: dropout.attention };
  const y = cache ? cache.attend(block, { q, k, v }, options) : attend(q, k, v, options);
  return model.linear(`h.${block}.attn.c_proj`, outOfHeads(y));
}

function mlp(model: Gpt2, x: Tensor, block: number): Tensor {
  const { activation } = model.config;
  const name = `h.${block}.mlp.c_fc`;
  const inner = isFused(activation)
    ? model.linear(name, x, { activation })
    : ACTIVATE[activation](model.linear(name, x));
  return model.linear(`h.${block}.mlp.c_proj`, inner);
}

const isFused = (activation: Gpt2Activation): activation is Gpt2Activation & Activation =>
  activation === "gelu" || activation === "gelu_tanh";

const ACTIVATE: Record<Exclude<Gpt2Activation, Activation>, (x: Tensor) => Tensor> = {
  relu,
  silu: (x) => mul(x, sigmoid(x)),
  tanh,
};
