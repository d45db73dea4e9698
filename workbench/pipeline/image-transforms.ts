// From settings to what is done to images: in evaluation as the model's checkpoint says, in training as was asked for.

import {
  borderOf,
  type EvaluationTransform,
  type ImageLoaderOptions,
  type RandAugmentSettings,
  type TrainingTransform,
} from "../data/images/index.ts";
import type { ImageSettings as Preparation } from "../models/index.ts";
import type { ImageSettings } from "./image-settings.ts";

/**
 * What a loader of images for evaluation is told.
 * @param own what the checkpoint says
 */
export function evaluationOptions(
  { crop, cropMode, interpolation }: Partial<Pick<ImageSettings, "crop" | "cropMode" | "interpolation">>,
  own: Preparation,
) {
  const { size, mean, std, transparency } = own;
  const mode = cropMode ?? own.cropMode;
  const transform = {
    kind: "evaluate" as const,
    cropShare: crop ?? own.cropShare,
    cropMode: mode,
    interpolation: interpolation ?? own.interpolation,
    ...(own.cropRounding && { cropRounding: own.cropRounding }),
    ...(mode === "border" && { border: borderOf(mean) }),
  } satisfies EvaluationTransform;
  return { size, mean, std, ...(transparency && { transparency }), transform } satisfies ImageLoaderOptions;
}

/** @param evaluation what training sees too where it does not crop by itself */
export function trainingTransform(settings: ImageSettings, evaluation: EvaluationTransform): TrainingTransform {
  const { trainCrop, flip, randAugment, autoAugment, colorJitter: jitter, erasing } = settings;
  return {
    kind: "train",
    crop: trainCrop === "none" ? evaluation : { kind: trainCrop },
    flip,
    ...(randAugment !== undefined && { randAugment: parseRandAugment(randAugment) }),
    ...(autoAugment !== undefined && autoAugment !== "none" && { autoAugment }),
    ...(jitter !== undefined && { colorJitter: { brightness: jitter, contrast: jitter, saturation: jitter } }),
    ...(erasing > 0 && { erasing: { probability: erasing } }),
  };
}

/** timm's way to write it, e.g. `m9-mstd0.5-inc1`; what is not said is as timm has it. */
export function parseRandAugment(text: string): RandAugmentSettings {
  const number = (name: string): number | undefined => {
    const found = new RegExp(`(?:^|-)${name}(\\d+(?:\\.\\d+)?)`).exec(text)?.[1];
    return found === undefined ? undefined : Number(found);
  };
  const [magnitude, deviation, operations] = ["m", "mstd", "n"].map(number);
  return {
    ...(magnitude !== undefined && { magnitude }),
    deviation: deviation ?? 0,
    ...(operations !== undefined && { operations }),
    increasing: text.endsWith("-inc1"),
  };
}
