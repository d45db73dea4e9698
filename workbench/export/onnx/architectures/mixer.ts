// MLP-Mixer's graph, as workbench/architectures/mixer/forward.ts computes it.

import type { MixerConfig } from "../../../architectures/mixer/config.ts";
import type { Value } from "../graph.ts";
import type { ModelGraph } from "../model-graph.ts";
import { add, mean, transpose } from "../operators.ts";
import { embedPatches, type VisionGraph } from "../vision.ts";

/** The graph of an MLP-Mixer. */
export const mixerGraph: VisionGraph<MixerConfig> = {
  colors: ({ colors }) => colors,

  logits(model, images) {
    const { graph: g, config } = model;
    const { patch, width } = config;
    let x = embedPatches(model as ModelGraph, "stem.proj", { images, patch, width });
    const normed = (name: string, from: Value) => model.layerNorm(name, from, config.epsilon);
    for (let block = 0; block < config.blocks; block++) {
      const name = `blocks.${block}`;
      const across = transpose(g, normed(`${name}.norm1`, x), [0, 2, 1]);
      x = add(g, x, transpose(g, mlp(model, `${name}.mlp_tokens`, across), [0, 2, 1]));
      x = add(g, x, mlp(model, `${name}.mlp_channels`, normed(`${name}.norm2`, x)));
    }
    return model.head("head", mean(g, normed("norm", x), [1]));
  },
};

const mlp = (model: ModelGraph<MixerConfig>, name: string, x: Value): Value =>
  model.linear(`${name}.fc2`, model.activate("gelu", model.linear(`${name}.fc1`, x)));
