// The free permutations of GPT-2. Queries, keys and values are thirds of one layer's outputs.

import { attentionSymmetries } from "../parts/attention-symmetries.ts";
import { hiddenUnits, type Places, partsOf, type Symmetry } from "../symmetry.ts";
import type { Gpt2Config } from "./config.ts";

/** Hidden units, components of heads, heads, and the residual stream, which positions and a tied head share. */
export function gpt2Symmetries({ blocks, width, heads, innerWidth }: Gpt2Config, places: Places): Symmetry[] {
  const names = Array.from({ length: blocks }, (_, i) => `h.${i}`);
  const streams = names.flatMap((block) => [
    ...places.last(`${block}.ln_1`),
    ...places.inputs(`${block}.attn.c_attn`),
    ...places.outputs(`${block}.attn.c_proj`),
    ...places.last(`${block}.ln_2`),
    ...places.inputs(`${block}.mlp.c_fc`),
    ...places.outputs(`${block}.mlp.c_proj`),
  ]);
  const ends = ["wte", "wpe", "ln_f", "lm_head"].flatMap((name) => places.last(name));
  return [
    ...names.flatMap((block) => {
      const third = (part: number) => partsOf(places.outputs(`${block}.attn.c_attn`), { offset: part * width });
      const output = `${block}.attn.c_proj`;
      return [
        ...attentionSymmetries({
          ...{ name: output, heads, headSize: width / heads },
          ...{ queries: third(0), keys: third(1), values: third(2), outputs: places.inputs(output) },
        }),
        hiddenUnits(places, { from: [`${block}.mlp.c_fc`], to: `${block}.mlp.c_proj`, size: innerWidth }),
      ];
    }),
    { name: "residual stream", kind: "stream", size: width, members: [...ends, ...streams] },
  ];
}
