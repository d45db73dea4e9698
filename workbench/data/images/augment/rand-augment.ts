// RandAugment (Cubuk et al. 2019, arXiv 1909.13719) as timm's `rand-m9-mstd0.5`: some operations drawn from fifteen, each
// done half of the time, with a magnitude drawn about the one that is set.

import type { Pixels } from "../pixels.ts";
import type { RandAugmentSettings } from "../transform.ts";
import { type AugmentContext, augmented, MOST_MAGNITUDE, type OperationName } from "./operations.ts";

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
