// The graph of a vision transformer, as workbench/architectures/vit/forward.ts computes it.

import type { VitConfig } from "../../../architectures/vit/config.ts";
import { PACKED_PARTS } from "../../../architectures/vit/names.ts";
import type { Value } from "../graph.ts";
import type { ModelGraph } from "../model-graph.ts";
import { add, concat, inHeads, lengthOf, matMul, mean, mul, reshape, transpose, unsqueeze } from "../operators.ts";
import { embedPatches, type VisionGraph } from "../vision.ts";

/** The graph of a vision transformer. */
export const vitGraph: VisionGraph<VitConfig> = {
  colors: ({ colors }) => colors,

  logits(model, images) {
    const { graph: g, config } = model;
    let x = tokens(model, images);
    for (let block = 0; block < config.blocks; block++) {
      const name = `blocks.${block}`;
      const half = (gains: string, branch: Value) => add(g, x, scaled(model, `${name}.${gains}`, branch));
      x = half("ls1", attention(model, `${name}.attn`, normed(model, `${name}.norm1`, x)));
      x = half("ls2", mlp(model, `${name}.mlp`, normed(model, `${name}.norm2`, x)));
    }
    const pooled = pool(model, x);
    const last =
      config.representation === undefined ? pooled : model.activate("tanh", model.head("pre_logits.fc", pooled));
    return model.head("head", last);
  },
};

type Vit = ModelGraph<VitConfig>;

/** The class token, then the embedded patches, with their position embeddings. */
function tokens(model: Vit, images: Value): Value {
  const { graph: g } = model;
  const { patch, width, classToken, classPosition } = model.config;
  const patches = embedPatches(model as ModelGraph, "patch_embed.proj", { images, patch, width });
  const positions = model.parameter("pos_embed");
  if (!classToken) return add(g, patches, positions);
  const batch = unsqueeze(g, lengthOf(g, images, 0), [0]);
  const own = g.op("Expand", [model.parameter("cls_token"), concat(g, [batch, g.ints([1, 1])], 0)]);
  return classPosition
    ? add(g, concat(g, [own, patches], 1), positions)
    : concat(g, [own, add(g, patches, positions)], 1);
}

const normed = (model: Vit, name: string, x: Value): Value => model.layerNorm(name, x, model.config.epsilon);

const scaled = (model: Vit, name: string, x: Value): Value =>
  model.config.layerScale === undefined ? x : mul(model.graph, x, model.parameter(`${name}.gamma`));

function attention(model: Vit, name: string, x: Value): Value {
  const { graph: g } = model;
  const { heads, width } = model.config;
  const headSize = width / heads;
  const [q, k, v] = PACKED_PARTS.map((part) => inHeads(g, model.linear(`${name}.${part}`, x), { heads, headSize })) as [
    Value,
    Value,
    Value,
  ];
  const scores = matMul(g, mul(g, q, g.number(1 / Math.sqrt(headSize))), transpose(g, k, [0, 1, 3, 2]));
  const y = matMul(g, g.op("Softmax", [scores], { axis: -1 }), v);
  return model.linear(`${name}.proj`, reshape(g, transpose(g, y, [0, 2, 1, 3]), [0, 0, width]));
}

const mlp = (model: Vit, name: string, x: Value): Value =>
  model.linear(`${name}.fc2`, model.activate(model.config.activation, model.linear(`${name}.fc1`, x)));

/** The pooled and normalized tokens, float32 (batch, n). */
function pool(model: Vit, x: Value): Value {
  const { graph: g } = model;
  const { pooling, finalNorm, classToken } = model.config;
  const taken = (from: Value) => {
    if (pooling === "token") return g.op("Gather", [from, g.int(0)], { axis: 1 });
    const patches = classToken
      ? g.op("Slice", [from, g.ints([1]), g.ints([Number.MAX_SAFE_INTEGER]), g.ints([1])])
      : from;
    return mean(g, patches, [1]);
  };
  const isAfter = finalNorm === "fc_norm" || pooling === "token";
  return isAfter ? normed(model, finalNorm, taken(x)) : taken(normed(model, finalNorm, x));
}
