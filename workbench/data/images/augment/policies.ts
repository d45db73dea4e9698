// AutoAugment (Cubuk et al. 2018, arXiv 1805.09501) and RandAugment (Cubuk et al. 2019, arXiv 1909.13719) with timm's
// rules.

/**
 * AutoAugment's policies (tables 7 and 9 of the paper): pairs of operations. Each operation has a probability and a
 * magnitude from 0 to 10.
 */
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

type PolicyName = keyof typeof POLICIES;

/** Operations by the paper's names. */
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

/** Parses a pair such as `Rotate 0.7 2 + TranslateX 0.3 9`; some operations have no magnitude. */
function stepsOf(pair: string): Step[] {
  return pair.split(" + ").map((step) => {
    const [name = "", probability, magnitude = "0"] = step.split(" ");
    return { operation: NAMES[name] as OperationName, probability: Number(probability), magnitude: Number(magnitude) };
  });
}

/** AutoAugment: draws one of 25 pairs of operations and applies each of the two with its probability. */
export function autoAugment(image: Pixels, policy: PolicyName, context: AugmentContext): Pixels {
  let changed = image;
  for (const { operation, probability, magnitude } of context.random.pick(PARSED[policy])) {
    if (context.random.chance(probability)) changed = augmented(changed, { operation, magnitude }, context);
  }
  return changed;
}

/** RandAugment's operations. */
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

/** Variants for which a larger magnitude is a stronger change (timm's `inc1`). */
const INCREASING: Partial<Record<OperationName, OperationName>> = {
  posterize: "posterizeIncreasing",
  solarize: "solarizeIncreasing",
  color: "colorIncreasing",
  contrast: "contrastIncreasing",
  brightness: "brightnessIncreasing",
  sharpness: "sharpnessIncreasing",
};

/**
 * RandAugment; the defaults are timm's `rand-m9-mstd0.5`. Draws operations uniformly, applies each with the given
 * probability, and draws its magnitude from a normal distribution.
 */
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
