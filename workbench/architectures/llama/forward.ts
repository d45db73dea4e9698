// Llama's forward pass, from token ids to the hidden states after the last normalization: the embedding, then pre-norm
// blocks of attention with rotary positions and a gated MLP (Touvron et al. 2023). Logits, losses and generation are the
// same for all language models, see parts/.

import { add, type Tensor, type Tensor2D, type Tensor3D, tidy } from "@tensorflow/tfjs-core";
import { embedding, gatedActivation, rmsNorm, rotary } from "../../engine/ops/index.ts";
import { expectOperand } from "../../engine/ops/operands.ts";
import { attend, inHeads, outOfHeads } from "../parts/attention.ts";
import type { AttentionCache } from "../parts/cache.ts";
import { type DropAt, dropper } from "../parts/dropout.ts";
import { expectPositions } from "../parts/stretches.ts";
import type { LanguageOptions, LayerSource, Step, Stepwise } from "../task.ts";
import type { LlamaConfig } from "./config.ts";
import { type RotaryTensors, rotaryTensors } from "./rotary.ts";

type Llama = LayerSource<LlamaConfig>;

/**
 * Computes the hidden states to which the head is applied.
 * @param ids int32 (batch, tokens)
 * @returns float32 (batch, tokens, n)
 * @throws ShapeError if there are more tokens, those in the cache included, than the model has positions
 */
export function llamaHidden(model: Llama, ids: Tensor2D, { dropoutSeed, cache }: LanguageOptions = {}): Tensor3D {
  const { positions } = model.config;
  expectOperand("llama", { ids }, { dtype: "int32", shape: ["batch", "tokens"] });
  const tokens = ids.shape[1];
  const stretches = cache?.stretches(tokens) ?? [{ past: 0, tokens }];
  expectPositions("llama", stretches, positions);
  return tidy(() => {
    const drop = dropper(dropoutSeed);
    const turns = rotaryTensors(model.config.rotary, stretches);
    let x = embedded(model, ids);
    // The tidy releases tensors that the gradient does not need after each half of a block.
    for (const step of stepsOf(model, { turns, drop, cache })) x = tidy(() => step(x));
    cache?.advance(tokens);
    return normalize(model, "norm", x) as Tensor3D;
  });
}

/** The forward pass without its last normalization, in steps of half a block. */
export const llamaStepwise: Stepwise<LlamaConfig> = {
  start: embedded,
  steps(model, { shape: [, tokens = 0] }) {
    const turns = rotaryTensors(model.config.rotary, [{ past: 0, tokens }]);
    return stepsOf(model, { turns, drop: dropper(undefined), cache: undefined });
  },
};

function embedded(model: Llama, ids: Tensor): Tensor {
  return embedding(model.parameter("embed_tokens.weight"), ids);
}

/** Two steps for each block: attention and MLP, each with its normalization and its residual connection. */
function stepsOf(model: Llama, options: Omit<BlockOptions, "block">): Step[] {
  return model.config.blocks.flatMap((_, block) => {
    const name = `layers.${block}`;
    return [
      (x: Tensor) => add(x, attention(model, normalize(model, `${name}.input_layernorm`, x), { block, ...options })),
      (x: Tensor) => add(x, mlp(model, normalize(model, `${name}.post_attention_layernorm`, x), `${name}.mlp`)),
    ];
  });
}

const normalize = (model: Llama, name: string, x: Tensor): Tensor =>
  rmsNorm(x, model.parameter(`${name}.weight`), { epsilon: model.config.epsilon });

interface BlockOptions {
  block: number;
  turns: RotaryTensors;
  drop: DropAt;
  cache: AttentionCache | undefined;
}

function attention(model: Llama, x: Tensor, { block, turns, drop, cache }: BlockOptions): Tensor {
  const { heads, keyValueHeads, normedHeads, dropout, blocks } = model.config;
  const name = `layers.${block}.self_attn`;
  const own = blocks[block];
  const apart = (part: string, count: number) => inHeads(model.linear(`${name}.${part}_proj`, x), count);
  const placed = (part: string, count: number) => {
    const all = apart(part, count);
    const scaled = normedHeads ? normalize(model, `${name}.${part}_norm`, all) : all;
    return own?.rotary ? rotary(scaled, turns.cos, turns.sin) : scaled;
  };
  const [q, k, v] = [placed("q", heads), placed("k", keyValueHeads), apart("v", keyValueHeads)];
  const options = { causal: true, window: own?.window, drop, rate: dropout };
  const y = cache ? cache.attend(block, { q, k, v }, options) : attend(q, k, v, options);
  return model.linear(`${name}.o_proj`, outOfHeads(y));
}

function mlp(model: Llama, x: Tensor, name: string): Tensor {
  const [gate, up] = [model.linear(`${name}.gate_proj`, x), model.linear(`${name}.up_proj`, x)];
  return model.linear(`${name}.down_proj`, gatedActivation(gate, up, model.config.activation));
}
