// MLP-Mixer's forward pass, from images to logits: patch embedding, MLPs alternately across patches and across
// channels, the mean over patches, and the head (Tolstikhin et al. 2021).

import { add, mean, reshape, type Tensor, type Tensor2D, type Tensor4D, tidy, transpose } from "@tensorflow/tfjs-core";
import { applyHead, embedPatches, expectImages } from "../parts/classifier.ts";
import { type DropAt, dropPath, dropper } from "../parts/dropout.ts";
import { normalizeLayer } from "../parts/norms.ts";
import type { ClassifierOptions, LayerSource, Step, Stepwise } from "../task.ts";
import type { MixerConfig } from "./config.ts";

type Mixer = LayerSource<MixerConfig>;

/**
 * Computes the logits of an MLP-Mixer.
 * @param images float32 (batch, image, image, colors), normalized
 * @returns logits, float32 (batch, classes)
 * @throws ShapeError if the images have another size than the model's
 */
export function mixerLogits(model: Mixer, images: Tensor4D, options: ClassifierOptions = {}): Tensor2D {
  const { patch, dropout } = model.config;
  const { training = false, seed, dropPath: rate = model.config.dropPath } = options;
  expectImages("mixer", images, model.config);
  return tidy(() => {
    const drop = dropper(training ? seed : undefined);
    let x: Tensor = embedPatches(model, "stem.proj", { images, patch });
    for (const step of stepsOf(model, { drop, rate })) x = tidy(() => step(x));
    return applyHead(model, "head", drop(mean(normed(model, "norm", x), 1), dropout.head));
  });
}

/** The forward pass up to the last normalization, in steps of half a block. */
export const mixerStepwise: Stepwise<MixerConfig> = {
  start: (model, images) => embedPatches(model, "stem.proj", { images: images as Tensor4D, patch: model.config.patch }),
  steps: (model) => stepsOf(model, { drop: dropper(undefined), rate: 0 }),
};

const normed = (model: Mixer, name: string, x: Tensor): Tensor =>
  normalizeLayer(model, name, { x, epsilon: model.config.epsilon });

/** Two steps for each block: the MLP across patches and the one across channels, with their residual connections. */
function stepsOf(model: Mixer, { drop, rate }: { drop: DropAt; rate: number }): Step[] {
  const added = (x: Tensor, half: Tensor) => add(x, dropPath(half, { drop, rate }));
  return Array.from({ length: model.config.blocks }, (_, block) => {
    const name = `blocks.${block}`;
    return [
      (x: Tensor) => {
        const patches = transposed(normed(model, `${name}.norm1`, x));
        return added(x, transposed(mlp(model, `${name}.mlp_tokens`, { x: patches, drop })));
      },
      (x: Tensor) => added(x, mlp(model, `${name}.mlp_channels`, { x: normed(model, `${name}.norm2`, x), drop })),
    ];
  }).flat();
}

/** Swaps the last two axes: (batch, patches, channels) ↔ (batch, channels, patches). */
const transposed = (x: Tensor): Tensor =>
  reshape(transpose(x, [0, 2, 1]), [x.shape[0], x.shape[2] as number, x.shape[1] as number]);

function mlp(model: Mixer, name: string, { x, drop }: { x: Tensor; drop: DropAt }): Tensor {
  const { mlp: rate } = model.config.dropout;
  const inner = drop(model.linear(`${name}.fc1`, x, { activation: "gelu" }), rate);
  return drop(model.linear(`${name}.fc2`, inner), rate);
}
