// The forward pass of a vision transformer, from images to logits: patch embedding, pre-norm blocks of attention and
// MLP, pooling, and the head (Dosovitskiy et al. 2021).

import {
  add,
  concat,
  mean,
  mul,
  reshape,
  slice,
  type Tensor,
  type Tensor2D,
  type Tensor4D,
  tanh,
  tidy,
  tile,
} from "@tensorflow/tfjs-core";
import { attend, inHeads, outOfHeads } from "../parts/attention.ts";
import { applyHead, embedPatches, expectImages } from "../parts/classifier.ts";
import { type DropAt, dropPath, dropper } from "../parts/dropout.ts";
import { normalizeLayer } from "../parts/norms.ts";
import type { ClassifierOptions, LayerSource, Step, Stepwise } from "../task.ts";
import type { VitConfig } from "./config.ts";
import { PACKED_PARTS } from "./names.ts";

type Vit = LayerSource<VitConfig>;

/**
 * Computes the logits of a vision transformer.
 * @param images float32 (batch, image, image, colors), normalized
 * @returns logits, float32 (batch, classes)
 * @throws ShapeError if the images have another size than the model's; `resizePositions` makes a model for another size
 */
export function vitLogits(model: Vit, images: Tensor4D, options: ClassifierOptions = {}): Tensor2D {
  const { dropout } = model.config;
  const { training = false, seed, dropPath: mostDropped = model.config.dropPath } = options;
  expectImages("vit", images, model.config);
  return tidy(() => {
    const drop = dropper(training ? seed : undefined);
    let x: Tensor = drop(tokens(model, images), dropout.embedding);
    // The tidy releases tensors that the gradient does not need after each half of a block.
    for (const step of stepsOf(model, { drop, mostDropped })) x = tidy(() => step(x));
    const pooled = tanhLayer(model, pool(model, x));
    return applyHead(model, "head", drop(pooled, dropout.head));
  });
}

/** The forward pass up to the pooling, in steps of half a block. */
export const vitStepwise: Stepwise<VitConfig> = {
  start: (model, images) => tokens(model, images as Tensor4D),
  steps: (model) => stepsOf(model, { drop: dropper(undefined), mostDropped: 0 }),
};

/** Two steps for each block: attention and MLP, each with its normalization and its residual connection. */
function stepsOf(model: Vit, { drop, mostDropped }: { drop: DropAt; mostDropped: number }): Step[] {
  const { blocks, dropout } = model.config;
  return Array.from({ length: blocks }, (_, block) => {
    const rate = (mostDropped * block) / Math.max(1, blocks - 1);
    const name = `blocks.${block}`;
    const half = (x: Tensor, gains: string, added: Tensor) =>
      add(x, dropPath(scaled(model, gains, drop(added, dropout.residual)), { drop, rate }));
    const normedAt = (x: Tensor, at: string) => ({ x: normed(model, `${name}.${at}`, x), drop });
    return [
      (x: Tensor) => half(x, `${name}.ls1`, attention(model, `${name}.attn`, normedAt(x, "norm1"))),
      (x: Tensor) => half(x, `${name}.ls2`, mlp(model, `${name}.mlp`, normedAt(x, "norm2"))),
    ];
  }).flat();
}

/**
 * The tokens, float32 (batch, tokens, n): the class token, then the embedded patches, with their position embeddings.
 */
function tokens(model: Vit, images: Tensor4D): Tensor {
  const { patch, width, classToken, classPosition } = model.config;
  const patches = embedPatches(model, "patch_embed.proj", { images, patch });
  const positions = model.parameter("pos_embed");
  if (!classToken) return add(patches, positions);
  const own = tile(reshape(model.parameter("cls_token"), [1, 1, width]), [images.shape[0], 1, 1]);
  return classPosition ? add(concat([own, patches], 1), positions) : concat([own, add(patches, positions)], 1);
}

interface BranchInput {
  x: Tensor;
  drop: DropAt;
}

const normed = (model: Vit, name: string, x: Tensor): Tensor =>
  normalizeLayer(model, name, { x, epsilon: model.config.epsilon });

const scaled = (model: Vit, name: string, x: Tensor): Tensor =>
  model.config.layerScale === undefined ? x : mul(x, model.parameter(`${name}.gamma`));

function attention(model: Vit, name: string, { x, drop }: BranchInput): Tensor {
  const { heads, dropout } = model.config;
  const [q, k, v] = PACKED_PARTS.map((part) => inHeads(model.linear(`${name}.${part}`, x), heads)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  return model.linear(`${name}.proj`, outOfHeads(attend(q, k, v, { drop, rate: dropout.attention })));
}

function mlp(model: Vit, name: string, { x, drop }: BranchInput): Tensor {
  const { activation, dropout } = model.config;
  return model.linear(`${name}.fc2`, drop(model.linear(`${name}.fc1`, x, { activation }), dropout.middle));
}

/** The pooled and normalized tokens, float32 (batch, n). */
function pool(model: Vit, x: Tensor): Tensor {
  const { pooling, finalNorm, classToken, width } = model.config;
  const [batch, count] = x.shape as [number, number];
  const first = classToken ? 1 : 0;
  const taken = (from: Tensor) =>
    pooling === "token"
      ? reshape(slice(from, [0, 0, 0], [batch, 1, width]), [batch, width])
      : mean(slice(from, [0, first, 0], [batch, count - first, width]), 1);
  // If one token is pooled, only this token needs to be normalized.
  if (finalNorm === "fc_norm" || pooling === "token") return normed(model, finalNorm, taken(x));
  return taken(normed(model, finalNorm, x));
}

function tanhLayer(model: Vit, x: Tensor): Tensor {
  if (model.config.representation === undefined) return x;
  return tanh(applyHead(model, "pre_logits.fc", x));
}
