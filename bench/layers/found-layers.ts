// Replaces the linear layers in the blocks of a model by GBLR layers with spans that a block search found (spans.ts).

import { type Model, replaceLayer } from "../../workbench/models/index.ts";
import { packedStructure } from "../../workbench/structures/inference/packed.ts";
import { type FoundSpans, packedLike } from "./spans.ts";

/** The layer of SmolLM2 whose spans a layer gets, by its name. The layers that match none read the residual stream. */
const LIKE: readonly (readonly [RegExp, string])[] = [
  [/\b(o_proj|attn\.(c_)?proj)$/, "14.o_proj"],
  [/\b(gate_proj|up_proj|c_fc|fc1)$/, "14.gate_proj"],
  [/\b(down_proj|mlp\.c_proj|fc2)$/, "14.down_proj"],
  [/./, "27.q_proj"],
];
/** Layers of the model's blocks are numbered; a head is not. */
const IN_BLOCK = /\.\d+\./;

/**
 * Changes the model in place.
 * @param options.share of the multiply-adds of the dense layers: 0.4 or 0.25
 */
export function foundLayers(
  model: Model,
  { found, kind, share }: { found: ReadonlyMap<string, FoundSpans>; kind: string; share: number },
): void {
  for (const { name, nIn, nOut, convolution } of [...model.layers.values()]) {
    if (convolution || !IN_BLOCK.test(`.${name}`)) continue;
    const [, like] = LIKE.find(([pattern]) => pattern.test(name)) as readonly [RegExp, string];
    const spans = found.get(`${kind}/${share}/${like}`);
    if (!spans) throw new Error(`no spans of ${kind} at ${share} for ${like}; see bench/layers/spans.ts`);
    const { nIn: _, nOut: __, ...parameters } = packedLike(spans, { nIn, nOut });
    const blocks = parameters.spans.shape[1];
    replaceLayer(model, name, packedStructure({ nIn, nOut, blocks }), parameters);
  }
}
