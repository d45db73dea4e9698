// The policies that AutoAugment found (Cubuk et al. 2018, arXiv 1805.09501, tables 7 and 9): pairs of operations, each with
// its probability and its magnitude of 10.

import type { Pixels } from "../pixels.ts";
import type { RandAugmentSettings } from "../transform.ts";
import { type AugmentContext, augmented, MOST_MAGNITUDE, type OperationName } from "./operations.ts";

export const POLICIES = {
  imagenet: [
    "Posterize 0.4 8 + Rotate 0.6 9",
    "Solarize 0.6 5 + AutoContrast 0.6",
    "Equalize 0.8 + Equalize 0.6",
    "Posterize 0.6 7 + Posterize 0.6 6",
    "Equalize 0.4 + Solarize 0.2 4",
    "Equalize 0.4 + Rotate 0.8 8",
    "Solarize 0.6 3 + Equalize 0.6",
    "Posterize 0.8 5 + Equalize 1.0",
    "Rotate 0.2 3 + Solarize 0.6 8",
    "Equalize 0.6 + Posterize 0.4 6",
    "Rotate 0.8 8 + Color 0.4 0",
    "Rotate 0.4 9 + Equalize 0.6",
    "Equalize 0.0 + Equalize 0.8",
    "Invert 0.6 + Equalize 1.0",
    "Color 0.6 4 + Contrast 1.0 8",
    "Rotate 0.8 8 + Color 1.0 2",
    "Color 0.8 8 + Solarize 0.8 7",
    "Sharpness 0.4 7 + Invert 0.6",
    "ShearX 0.6 5 + Equalize 1.0",
    "Color 0.4 0 + Equalize 0.6",
    "Equalize 0.4 + Solarize 0.2 4",
    "Solarize 0.6 5 + AutoContrast 0.6",
    "Invert 0.6 + Equalize 1.0",
    "Color 0.6 4 + Contrast 1.0 8",
    "Equalize 0.8 + Equalize 0.6",
  ],
  cifar10: [
    "Invert 0.1 + Contrast 0.2 6",
    "Rotate 0.7 2 + TranslateX 0.3 9",
    "Sharpness 0.8 1 + Sharpness 0.9 3",
    "ShearY 0.5 8 + TranslateY 0.7 9",
    "AutoContrast 0.5 + Equalize 0.9",
    "ShearY 0.2 7 + Posterize 0.3 7",
    "Color 0.4 3 + Brightness 0.6 7",
    "Sharpness 0.3 9 + Brightness 0.7 9",
    "Equalize 0.6 + Equalize 0.5",
    "Contrast 0.6 7 + Sharpness 0.6 5",
    "Color 0.7 7 + TranslateX 0.5 8",
    "Equalize 0.3 + AutoContrast 0.4",
    "TranslateY 0.4 3 + Sharpness 0.2 6",
    "Brightness 0.9 6 + Color 0.2 8",
    "Solarize 0.5 2 + Invert 0.0",
    "Equalize 0.2 + AutoContrast 0.6",
    "Equalize 0.2 + Equalize 0.6",
    "Color 0.9 9 + Equalize 0.6",
    "AutoContrast 0.8 + Solarize 0.2 8",
    "Brightness 0.1 3 + Color 0.7 0",
    "Solarize 0.4 5 + AutoContrast 0.9",
    "TranslateY 0.9 9 + TranslateY 0.7 9",
    "AutoContrast 0.9 + Solarize 0.8 3",
    "Equalize 0.8 + Invert 0.1",
    "TranslateY 0.7 9 + AutoContrast 0.9",
  ],
} as const;

export type PolicyName = keyof typeof POLICIES;

// AutoAugment (Cubuk et al. 2018, arXiv 1805.09501, appendix): of 25 pairs of operations one is drawn for each image,
// each of the two done with its probability. Magnitudes mean what they mean in the paper.

/** The paper's names. */
const NAMES: Record<string, OperationName> = {
  AutoContrast: "autoContrast",
  Brightness: "brightness",
  Color: "color",
  Contrast: "contrast",
  Equalize: "equalize",
  Invert: "invert",
  Posterize: "posterizeOriginal",
  Rotate: "rotate",
  Sharpness: "sharpness",
  ShearX: "shearX",
  ShearY: "shearY",
  Solarize: "solarize",
  TranslateX: "translateX",
  TranslateY: "translateY",
};

interface Step {
  operation: OperationName;
  probability: number;
  magnitude: number;
}

const PARSED: Record<PolicyName, Step[][]> = {
  imagenet: POLICIES.imagenet.map(stepsOf),
  cifar10: POLICIES.cifar10.map(stepsOf),
};

/** `Rotate 0.7 2 + TranslateX 0.3 9`; operations without a magnitude have none. */
function stepsOf(pair: string): Step[] {
  return pair.split(" + ").map((step) => {
    const [name = "", probability, magnitude = "0"] = step.split(" ");
    return { operation: NAMES[name] as OperationName, probability: Number(probability), magnitude: Number(magnitude) };
  });
}

export function autoAugment(image: Pixels, policy: PolicyName, context: AugmentContext): Pixels {
  let changed = image;
  for (const { operation, probability, magnitude } of context.random.pick(PARSED[policy])) {
    if (context.random.chance(probability)) changed = augmented(changed, { operation, magnitude }, context);
  }
  return changed;
}

// RandAugment (Cubuk et al. 2019, arXiv 1909.13719) as timm's `rand-m9-mstd0.5`: some operations drawn from fifteen, each
// done half of the time, with a magnitude drawn about the one that is set.

const DRAWN: readonly OperationName[] = [
  "autoContrast",
  "equalize",
  "invert",
  "rotate",
  "posterize",
  "solarize",
  "solarizeAdd",
  "color",
  "contrast",
  "brightness",
  "sharpness",
  "shearX",
  "shearY",
  "translateX",
  "translateY",
];

/** Those of which a greater magnitude is a stronger change. */
const INCREASING: Partial<Record<OperationName, OperationName>> = {
  posterize: "posterizeIncreasing",
  solarize: "solarizeIncreasing",
  color: "colorIncreasing",
  contrast: "contrastIncreasing",
  brightness: "brightnessIncreasing",
  sharpness: "sharpnessIncreasing",
};

export function randAugment(
  image: Pixels,
  { operations = 2, magnitude = 9, deviation = 0.5, probability = 0.5, increasing = false }: RandAugmentSettings,
  context: AugmentContext,
): Pixels {
  const { random } = context;
  let changed = image;
  for (let i = 0; i < operations; i++) {
    const drawn = random.pick(DRAWN);
    if (!random.chance(probability)) continue;
    const operation = (increasing && INCREASING[drawn]) || drawn;
    const strength = Math.max(0, Math.min(MOST_MAGNITUDE, magnitude + deviation * random.normal()));
    changed = augmented(changed, { operation, magnitude: strength }, context);
  }
  return changed;
}
