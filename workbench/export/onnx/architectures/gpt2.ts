// GPT-2's graph, as workbench/architectures/gpt2/forward.ts computes it.

import type { Gpt2Config } from "../../../architectures/gpt2/config.ts";
import type { Value } from "../graph.ts";
import type { LanguageGraph, Tokens } from "../language.ts";
import type { ModelGraph } from "../model-graph.ts";
import { add, inHeads, split } from "../operators.ts";

/** The graph of GPT-2's body. */
export const gpt2Graph: LanguageGraph<Gpt2Config> = {
  keysAndValues: ({ blocks, heads, width }) => ({ blocks, heads, headSize: width / heads }),

  hidden(model, tokens) {
    const { graph: g, config } = model;
    const words = g.op("Gather", [model.parameter("wte.weight"), tokens.ids]);
    let x = add(g, words, g.op("Gather", [model.parameter("wpe.weight"), tokens.positions]));
    for (let block = 0; block < config.blocks; block++) {
      const normed = (name: string, from: Value) => model.layerNorm(`h.${block}.${name}`, from, config.epsilon);
      x = add(g, x, attention(model, normed("ln_1", x), { tokens, block }));
      x = add(g, x, mlp(model, normed("ln_2", x), block));
    }
    return model.layerNorm("ln_f", x, config.epsilon);
  },
};

type Gpt2 = ModelGraph<Gpt2Config>;

function attention(model: Gpt2, x: Value, { tokens, block }: { tokens: Tokens; block: number }): Value {
  const { graph: g } = model;
  const { heads, width, scaleAttention, scaleAttentionByBlock } = model.config;
  const qkv = split(g, model.linear(`h.${block}.attn.c_attn`, x), { axis: -1, lengths: [width, width, width] });
  const parts = qkv.map((all) => inHeads(g, all, { heads, headSize: width / heads })) as [Value, Value, Value];
  const scale = (scaleAttention ? 1 / Math.sqrt(width / heads) : 1) / (scaleAttentionByBlock ? block + 1 : 1);
  return model.linear(`h.${block}.attn.c_proj`, tokens.attend(parts, { block, scale }));
}

function mlp(model: Gpt2, x: Value, block: number): Value {
  const inner = model.activate(model.config.activation, model.linear(`h.${block}.mlp.c_fc`, x));
  return model.linear(`h.${block}.mlp.c_proj`, inner);
}
