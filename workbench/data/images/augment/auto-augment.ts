// AutoAugment (Cubuk et al. 2018, arXiv 1805.09501, appendix): of 25 pairs of operations one is drawn for each image,
// each of the two done with its probability. Magnitudes mean what they mean in the paper.

import type { Pixels } from "../pixels.ts";
import { type AugmentContext, augmented, type OperationName } from "./operations.ts";
import { POLICIES, type PolicyName } from "./policies.ts";

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
