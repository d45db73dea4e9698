// Replaces the linear layers in the blocks of a model by GBLR layers with spans that a block search found (spans.ts).

import { type Model, replaceLayer } from "../../workbench/models/index.ts";
import { packedStructure } from "../../workbench/structures/inference/packed.ts";
import { likeOf } from "./models.ts";
import { type FoundSpans, packedLike } from "./spans.ts";

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
    const like = likeOf(name);
    const spans = found.get(`${kind}/${share}/${like}`);
    if (!spans) throw new Error(`no spans of ${kind} at ${share} for ${like}; see bench/layers/spans.ts`);
    const { nIn: _, nOut: __, ...parameters } = packedLike(spans, { nIn, nOut });
    const blocks = parameters.spans.shape[1];
    replaceLayer(model, name, packedStructure({ nIn, nOut, blocks }), parameters);
  }
}
