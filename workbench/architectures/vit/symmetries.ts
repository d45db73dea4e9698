// The free permutations of vision transformers. All components of queries and keys are free, because positions are added
// to the residual stream only.

import { attentionSymmetries } from "../parts/attention-symmetries.ts";
import { hiddenUnits, type Places, type Symmetry } from "../symmetry.ts";
import type { VitConfig } from "./config.ts";

/** Hidden units, components of heads, heads, and the residual stream with its positions and the class token. */
export function vitSymmetries(config: VitConfig, places: Places): Symmetry[] {
  const { blocks, width, heads, innerWidth, representation } = config;
  const names = Array.from({ length: blocks }, (_, i) => `blocks.${i}`);
  const streams = names.flatMap((block) => [
    ...["norm1", "norm2", "ls1", "ls2"].flatMap((part) => places.last(`${block}.${part}`)),
    ...["q_proj", "k_proj", "v_proj"].flatMap((part) => places.inputs(`${block}.attn.${part}`)),
    ...places.outputs(`${block}.attn.proj`),
    ...places.inputs(`${block}.mlp.fc1`),
    ...places.outputs(`${block}.mlp.fc2`),
  ]);
  const starts = ["patch_embed.proj", "cls_token", "pos_embed", config.finalNorm].flatMap((name) => places.last(name));
  const tanh = representation === undefined ? [] : [{ from: ["pre_logits.fc"], to: "head", size: representation }];
  const end = places.inputs(representation === undefined ? "head" : "pre_logits.fc");
  return [
    ...names.flatMap((block) => {
      const output = `${block}.attn.proj`;
      return [
        ...attentionSymmetries({
          ...{ name: output, heads, headSize: width / heads },
          queries: places.outputs(`${block}.attn.q_proj`),
          keys: places.outputs(`${block}.attn.k_proj`),
          values: places.outputs(`${block}.attn.v_proj`),
          outputs: places.inputs(output),
        }),
        hiddenUnits(places, { from: [`${block}.mlp.fc1`], to: `${block}.mlp.fc2`, size: innerWidth }),
      ];
    }),
    ...tanh.map((units) => hiddenUnits(places, units)),
    { name: "residual stream", kind: "stream", size: width, members: [...starts, ...streams, ...end] },
  ];
}
