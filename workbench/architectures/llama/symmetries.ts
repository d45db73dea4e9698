// The free permutations of Llama's family. Rotary positions turn pairs of components by angles of their own, so that the
// order of queries and keys is free only in blocks without them, or for components that are not rotated.

import { attentionSymmetries } from "../parts/attention-symmetries.ts";
import { hiddenUnits, type Places, type Symmetry } from "../symmetry.ts";
import type { LlamaConfig } from "./config.ts";

/** Hidden units of the gated MLPs, components of heads, heads, and the residual stream. */
export function llamaSymmetries(config: LlamaConfig, places: Places): Symmetry[] {
  const { blocks, width, heads, keyValueHeads, headSize, innerWidth, rotary } = config;
  const streams = blocks.flatMap((_, i) => {
    const block = `layers.${i}`;
    return [
      ...["input_layernorm", "post_attention_layernorm"].flatMap((norm) => places.last(`${block}.${norm}`)),
      ...["q_proj", "k_proj", "v_proj"].flatMap((part) => places.inputs(`${block}.self_attn.${part}`)),
      ...places.outputs(`${block}.self_attn.o_proj`),
      ...["gate_proj", "up_proj"].flatMap((part) => places.inputs(`${block}.mlp.${part}`)),
      ...places.outputs(`${block}.mlp.down_proj`),
    ];
  });
  const ends = ["embed_tokens", "norm", "lm_head"].flatMap((name) => places.last(name));
  return [
    ...blocks.flatMap((block, i) => {
      const [attention, mlp] = [`layers.${i}.self_attn`, `layers.${i}.mlp`];
      const output = `${attention}.o_proj`;
      return [
        ...attentionSymmetries({
          ...{ name: output, heads, keyValueHeads, headSize, rotated: block.rotary ? rotary.size : 0 },
          queries: places.outputs(`${attention}.q_proj`),
          keys: places.outputs(`${attention}.k_proj`),
          values: places.outputs(`${attention}.v_proj`),
          outputs: places.inputs(output),
          gains: ["q_norm", "k_norm"].flatMap((norm) => places.last(`${attention}.${norm}`)),
        }),
        hiddenUnits(places, {
          ...{ from: [`${mlp}.gate_proj`, `${mlp}.up_proj`], to: `${mlp}.down_proj`, size: innerWidth },
        }),
      ];
    }),
    { name: "residual stream", kind: "stream", size: width, members: [...ends, ...streams] },
  ];
}
