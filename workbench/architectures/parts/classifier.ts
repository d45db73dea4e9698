// Images to class logits by any of the architectures that do that.

import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import { EngineError } from "../../engine/core/errors.ts";
import type { Model } from "../../models/model.ts";
import { mixerLogits } from "../mixer/forward.ts";
import { resnetLogits } from "../resnet/forward.ts";
import { vitLogits } from "../vit/forward.ts";

export interface ClassifierOptions {
  /** normalizes batches by their own statistics, which move the running ones. Default false */
  training?: boolean;
  /**
   * in training: of what is dropped, at the config's rates; give each step its own, a whole number from 0. Default:
   * nothing is dropped
   */
  seed?: number;
}

type Forward = (model: Model<never>, images: Tensor4D, options?: ClassifierOptions) => Tensor2D;

const FORWARDS: Readonly<Record<string, Forward>> = { vit: vitLogits, resnet: resnetLogits, mixer: mixerLogits };

/** Whether the model is for images and classes. */
export const isClassifier = <Config>({ architecture }: Pick<Model<Config>, "architecture">): boolean =>
  architecture.type in FORWARDS;

/**
 * @param images float32 (batch, height, width, colors), normalized as imageSettings says
 * @returns float32 (batch, classes)
 * @throws ShapeError when images are of another size than the model's; EngineError when it classifies no images
 */
export function classifierLogits<Config>(
  model: Model<Config>,
  images: Tensor4D,
  options: ClassifierOptions = {},
): Tensor2D {
  const { type } = model.architecture;
  const forward = FORWARDS[type];
  if (!forward) throw new EngineError(`a ${type} model classifies no images`, "give a vit, resnet or mixer model");
  return forward(model as Model<never>, images, options);
}
