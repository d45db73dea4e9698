// MLP-Mixer's forward pass, from images to logits: patch embedding, MLPs alternately across patches and across
// channels, the mean over patches, and the head (Tolstikhin et al. 2021).

import { add, mean, reshape, type Tensor, type Tensor2D, type Tensor4D, tidy, transpose } from "@tensorflow/tfjs-core";
import { applyHead, embedPatches, expectImages } from "../parts/classifier.ts";
import { type DropAt, dropPath, dropper } from "../parts/dropout.ts";
import { normalizeLayer } from "../parts/norms.ts";
import type { ClassifierOptions, LayerSource } from "../task.ts";
import type { MixerConfig } from "./config.ts";

type Mixer = LayerSource<MixerConfig>;

/**
 * Computes the logits of an MLP-Mixer.
 * @param images float32 (batch, image, image, colors), normalized
 * @returns logits, float32 (batch, classes)
 * @throws ShapeError if the images have another size than the model's
 */
export function mixerLogits(model: Mixer, images: Tensor4D, options: ClassifierOptions = {}): Tensor2D {
  const { blocks, epsilon, patch, dropout } = model.config;
  const { training = false, seed, dropPath: rate = model.config.dropPath } = options;
  expectImages("mixer", images, model.config);
  return tidy(() => {
    const drop = dropper(training ? seed : undefined);
    let x: Tensor = embedPatches(model, "stem.proj", { images, patch });
    const normed = (name: string) => normalizeLayer(model, name, { x, epsilon });
    const withDropPath = (half: Tensor) => add(x, dropPath(half, { drop, rate }));
    for (let block = 0; block < blocks; block++) {
      const name = `blocks.${block}`;
      x = tidy(() =>
        withDropPath(transposed(mlp(model, `${name}.mlp_tokens`, { x: transposed(normed(`${name}.norm1`)), drop }))),
      );
      x = tidy(() => withDropPath(mlp(model, `${name}.mlp_channels`, { x: normed(`${name}.norm2`), drop })));
    }
    return applyHead(model, "head", drop(mean(normed("norm"), 1), dropout.head));
  });
}

/** Swaps the last two axes: (batch, patches, channels) ↔ (batch, channels, patches). */
const transposed = (x: Tensor): Tensor =>
  reshape(transpose(x, [0, 2, 1]), [x.shape[0], x.shape[2] as number, x.shape[1] as number]);

function mlp(model: Mixer, name: string, { x, drop }: { x: Tensor; drop: DropAt }): Tensor {
  const { mlp: rate } = model.config.dropout;
  const inner = drop(model.linear(`${name}.fc1`, x, { activation: "gelu" }), rate);
  return drop(model.linear(`${name}.fc2`, inner), rate);
}
