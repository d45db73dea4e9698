// Settings of an experiment with an image classifier: the settings of every experiment, how images are read and
// augmented, and the sizes of a model from scratch; and the image transforms that follow from them.

import { z } from "zod";
import {
  borderOf,
  CLASS_ORDERS,
  type EvaluationTransform,
  type ImageLoaderOptions,
  type RandAugmentSettings,
  type TrainingTransform,
} from "../../data/images/index.ts";
import { CROP_MODES, INTERPOLATIONS, type ImageSettings as Preparation } from "../../models/index.ts";
import { amount, count, experimentShape, grouped, share, text } from "../settings.ts";

const chance = (description: string) => z.number().min(0).max(1).meta({ description, unit: "share" });
const colors = (description: string, value: z.ZodType<number, unknown> = z.coerce.number()) =>
  z
    .array(value)
    .length(3)
    .optional()
    .meta({ description: `of red, green and blue, ${description}` });

export const imageExperiment = z.object({
  ...experimentShape("images"),
  ...grouped("Model and data", {
    model: text(
      "model to start from: owner/name[@revision], a folder, or scratch:<timm's name>, e.g. scratch:mixer_s4_32",
    ),
    newHead: z
      .boolean()
      .optional()
      .meta({ description: "make the head anew, for the classes of the data set; all else is kept" }),
    width: count("of a model from scratch (default: as its name says)", "channels").optional(),
    blocks: count("of a model from scratch (default: as its name says)", "blocks").optional(),
    heads: count("of a vision transformer from scratch (default: as its name says)", "heads").optional(),
    size: count("edge of what a model from scratch sees (default: as its name says)", "pixels").optional(),
    mean: colors("taken off values from 0 to 1 by a model from scratch"),
    std: colors("what a model from scratch then divides by", z.coerce.number().positive()),

    imageColumn: text("column of the images (default: image, else img)").optional(),
    labelColumn: text("column of the classes (default: label, else labels, else fine_label)").optional(),
    classOrder: z.enum(CLASS_ORDERS).optional().meta({
      description:
        "of classes that are names: as text is sorted, or the numbers that they are called (default: the model's labels, else numbers where they are 0 to n - 1, else text)",
    }),
    holdOut: share("of the training images for validation, instead of a split").optional(),
    trainLimit: count("train on so many only, drawn by the seed", "images").optional(),
    limit: count("evaluate on so many of each split only, drawn by the seed", "images").optional(),
    trainSample: count("training images that are measured beside validation's", "images").default(1000),
    crop: share("of the resized side that evaluation sees (default: the checkpoint's)").optional(),
    cropMode: z.enum(CROP_MODES).optional().meta({
      description:
        "what evaluation resizes: the shorter side, both to a square, or the longer with a border (default: the checkpoint's)",
    }),
    interpolation: z
      .enum(INTERPOLATIONS)
      .optional()
      .meta({ description: "of resizing in evaluation (default: the checkpoint's)" }),
    workers: z
      .int()
      .min(0)
      .optional()
      .meta({ description: "that prepare images (default: one a core, at most 16)", unit: "threads" }),
    skipBad: z.boolean().default(false).meta({ description: "leave out images that cannot be decoded" }),
  }),
  ...grouped("Augmentation", {
    trainCrop: z
      .enum(["resized", "padded", "none"])
      .default("resized")
      .meta({ description: "in training: a random part resized, CIFAR's shifts, or what evaluation sees" }),
    flip: chance("of a mirror image").default(0.5),
    randAugment: z
      .string()
      .regex(/^m\d+(\.\d+)?(-mstd\d+(\.\d+)?)?(-n\d+)?(-inc1)?$/, "expected such as m9-mstd0.5-n2-inc1")
      .optional()
      .meta({ description: "magnitude, its deviation, operations, as timm writes it: m9-mstd0.5-inc1" }),
    autoAugment: z
      .enum(["imagenet", "cifar10", "none"])
      .optional()
      .meta({ description: "a published policy instead, or none of these where a recipe has one" }),
    colorJitter: amount("of changes of brightness, contrast and saturation, instead")
      .optional()
      .meta({ description: "of changes of brightness, contrast and saturation, instead", formerly: ["colourJitter"] }),
    erasing: chance("of random erasing").default(0),
    mixup: z.number().min(0).default(0).meta({ description: "alpha of mixup; 0: none" }),
    cutmix: z.number().min(0).default(0).meta({ description: "alpha of cutmix; 0: none" }),
    labelSmoothing: z
      .number()
      .min(0)
      .lt(1)
      .default(0)
      .meta({ description: "of a target, spread over all classes", unit: "share" }),
    dropPath: z
      .number()
      .min(0)
      .lt(1)
      .optional()
      .meta({ description: "chance that the last block is skipped (default: the checkpoint's)", unit: "share" }),
  }),
});

export type ImageSettings = z.output<typeof imageExperiment>;

/**
 * Options of an image loader for evaluation.
 * @param own preparation that the checkpoint specifies; settings override it
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

/** @param evaluation the crop for training where `trainCrop` is none */
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

/** Parses timm's notation, e.g. `m9-mstd0.5-inc1`, with timm's defaults for the parts that are left out. */
function parseRandAugment(text: string): RandAugmentSettings {
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
