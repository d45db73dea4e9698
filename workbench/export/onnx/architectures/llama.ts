// The graph of Llama's family, as workbench/architectures/llama/forward.ts computes it.

import type { LlamaConfig } from "../../../architectures/llama/config.ts";
import type { Value } from "../graph.ts";
import type { LanguageGraph, Tokens } from "../language.ts";
import type { ModelGraph } from "../model-graph.ts";
import { add, inHeads, mul } from "../operators.ts";
import { type Angles, anglesOf, rotated } from "./rotary.ts";

/** The graph of the body of Llama, Mistral, Qwen2, Qwen3 and SmolLM3. */
export const llamaGraph: LanguageGraph<LlamaConfig> = {
  keysAndValues: ({ blocks, keyValueHeads, headSize }) => ({ blocks: blocks.length, heads: keyValueHeads, headSize }),

  hidden(model, tokens) {
    const { graph: g, config } = model;
    const turns = g.within("rotary", () => anglesOf(g, config.rotary, tokens));
    let x = g.op("Gather", [model.parameter("embed_tokens.weight"), tokens.ids]);
    for (const block of config.blocks.keys()) {
      const name = `layers.${block}`;
      const normed = (part: string, from: Value) => model.rmsNorm(`${name}.${part}`, from, config.epsilon);
      x = add(g, x, attention(model, normed("input_layernorm", x), { tokens, turns, block }));
      x = add(g, x, mlp(model, normed("post_attention_layernorm", x), `${name}.mlp`));
    }
    return model.rmsNorm("norm", x, config.epsilon);
  },
};

type Llama = ModelGraph<LlamaConfig>;

interface BlockOptions {
  block: number;
  tokens: Tokens;
  turns: Angles;
}

function attention(model: Llama, x: Value, { block, tokens, turns }: BlockOptions): Value {
  const { graph: g } = model;
  const { heads, keyValueHeads, headSize, normedHeads, blocks, rotary, epsilon } = model.config;
  const name = `layers.${block}.self_attn`;
  const own = blocks[block];
  const apart = (part: string, count: number) =>
    inHeads(g, model.linear(`${name}.${part}_proj`, x), { heads: count, headSize });
  const placed = (part: string, count: number) => {
    const all = apart(part, count);
    const scaled = normedHeads ? model.rmsNorm(`${name}.${part}_norm`, all, epsilon) : all;
    return own?.rotary ? rotated(g, scaled, { turns, size: rotary.size, headSize }) : scaled;
  };
  const parts = [placed("q", heads), placed("k", keyValueHeads), apart("v", keyValueHeads)] as const;
  const settings = { block, scale: 1 / Math.sqrt(headSize), window: own?.window, group: heads / keyValueHeads };
  return model.linear(`${name}.o_proj`, tokens.attend(parts, settings));
}

function mlp(model: Llama, x: Value, name: string): Value {
  const [gate, up] = [model.linear(`${name}.gate_proj`, x), model.linear(`${name}.up_proj`, x)];
  return model.linear(`${name}.down_proj`, mul(model.graph, model.activate(model.config.activation, gate), up));
}
