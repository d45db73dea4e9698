// The settings of an experiment with an image classifier: the settings of all experiments, how images are read and
// augmented, and the sizes of a model from scratch. Also derives the image transforms from the settings.

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
import { count, experimentShape, grouped, share, text } from "../settings.ts";

const chance = (description: string) => z.number().min(0).max(1).meta({ description, unit: "share" });
const colors = (description: string, value: z.ZodType<number, unknown> = z.coerce.number()) =>
  z.array(value).length(3).optional().meta({ description });

/** Help of the options that recipes and `gblr eval acc` share. */
export const CLASS_ORDER_HELP =
  "order of classes that are folder names: sorted as text, or as numbers (default: by the model's labels; else as numbers if they are 0 to n - 1; else as text)";
export const CROP_MODE_HELP =
  "how evaluation resizes: shorter side, then center crop; both sides to a square; or longer side, with a border (default: the checkpoint's)";

/** Schema of the settings of an experiment with an image classifier. */
export const imageExperiment = z.object({
  ...experimentShape("images"),
  ...grouped("Model and data", {
    model: text(
      "model to start from: owner/name[@revision], a folder, or scratch:<timm's name>, e.g. scratch:mixer_s4_32",
    ),
    newHead: z
      .boolean()
      .optional()
      .meta({ description: "replace the head by a new one for the classes of the data set" }),
    width: count("channels of a model from scratch (default: from its name)", "channels").optional(),
    blocks: count("blocks of a model from scratch (default: from its name)", "blocks").optional(),
    heads: count("attention heads of a vision transformer from scratch (default: from its name)", "heads").optional(),
    size: count("edge of the input image of a model from scratch (default: from its name)", "pixels").optional(),
    mean: colors("mean of red, green and blue, in 0 to 1, that a model from scratch subtracts"),
    std: colors(
      "standard deviation of red, green and blue that a model from scratch divides by",
      z.coerce.number().positive(),
    ),

    imageColumn: text("column with the images (default: image or img)").optional(),
    labelColumn: text("column with the classes (default: label, labels or fine_label)").optional(),
    classOrder: z.enum(CLASS_ORDERS).optional().meta({ description: CLASS_ORDER_HELP }),
    holdOut: chance(
      "share of the training images to hold out for validation, instead of a split; 0 holds out none",
    ).optional(),
    shuffleImages: count(
      "with --stream: images that are shuffled together, divided among the micro-batches of a step",
      "images",
    ).default(8192),
    trainLimit: count("images to train on, drawn at random (default: all)", "images").optional(),
    limit: count("images to evaluate on, drawn at random from each split (default: all)", "images").optional(),
    trainSample: count("training images to evaluate on besides the validation split", "images").default(1000),
    crop: share("edge of the crop relative to the resized image, in evaluation (default: the checkpoint's)").optional(),
    cropMode: z.enum(CROP_MODES).optional().meta({ description: CROP_MODE_HELP }),
    interpolation: z
      .enum(INTERPOLATIONS)
      .optional()
      .meta({ description: "interpolation of the resizing in evaluation (default: the checkpoint's)" }),
    workers: z.int().min(0).optional().meta({
      description: "threads that decode images; 0: none (default: one per core, at most 16)",
      unit: "threads",
    }),
    skipBad: z.boolean().default(false).meta({ description: "skip images that cannot be decoded" }),
  }),
  ...grouped("Augmentation", {
    trainCrop: z
      .enum(["resized", "padded", "none"])
      .default("resized")
      .meta({ description: "crop in training: random resized, padded and shifted as for CIFAR, or as in evaluation" }),
    flip: chance("probability of a horizontal flip").default(0.5),
    randAugment: z
      .string()
      .regex(/^m\d+(\.\d+)?(-mstd\d+(\.\d+)?)?(-n\d+)?(-inc1)?$/, "expected such as m9-mstd0.5-n2-inc1")
      .optional()
      .meta({ description: "RandAugment in timm's notation, e.g. m9-mstd0.5-inc1" }),
    autoAugment: z
      .enum(["imagenet", "cifar10", "none"])
      .optional()
      .meta({ description: "AutoAugment policy, instead of RandAugment; none turns off the one of the recipe" }),
    colorJitter: z
      .number()
      .positive()
      .optional()
      .meta({
        description: "strength of random brightness, contrast and saturation, instead of RandAugment and AutoAugment",
        aliases: ["colourJitter"],
      }),
    erasing: chance("probability of random erasing").default(0),
    mixup: z.number().min(0).default(0).meta({ description: "alpha of mixup; 0 disables it" }),
    cutmix: z.number().min(0).default(0).meta({ description: "alpha of cutmix; 0 disables it" }),
    labelSmoothing: z
      .number()
      .min(0)
      .lt(1)
      .default(0)
      .meta({ description: "share of each target that is spread over all classes", unit: "share" }),
    dropPath: z.number().min(0).lt(1).optional().meta({
      description: "stochastic depth: probability to skip the last block (default: the checkpoint's)",
      unit: "share",
    }),
  }),
});

/** The settings of an experiment with an image classifier. The schema has their units and defaults. */
export type ImageSettings = z.output<typeof imageExperiment>;

/**
 * Options of the image loader for evaluation.
 * @param own image preparation of the checkpoint, which settings override
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

/**
 * The image transform for training.
 * @param evaluation transform for evaluation, whose crop is used if `trainCrop` is `none`
 */
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

/** Parses timm's notation, e.g. `m9-mstd0.5-inc1`. Parts that are left out have timm's defaults. */
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
