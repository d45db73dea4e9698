// The operations of AutoAugment (Cubuk et al. 2018, arXiv 1805.09501) and RandAugment (Cubuk et al. 2019, arXiv
// 1909.13719), with timm's mapping of a magnitude from 0 to 10 to the parameters of each.

import type { RandomStream } from "../../random.ts";
import type { Pixels } from "../pixels.ts";
import { type Affine, type AffineOptions, rotation, transformed } from "./affine.ts";
import {
  autoContrast,
  brightness,
  contrast,
  equalize,
  invert,
  posterize,
  saturation,
  sharpness,
  solarize,
  solarizeAdd,
} from "./color.ts";

/** Settings that all operations share. */
export interface AugmentContext {
  random: RandomStream;
  /** interpolation of shears, rotations and translations; `random`: drawn for each operation */
  interpolation: AffineOptions["interpolation"] | "random";
  /** color of pixels from outside of the image, 0 to 255 */
  fill: readonly [number, number, number];
}

/** Largest magnitude of an operation. */
export const MOST_MAGNITUDE = 10;

/** Largest shear, at magnitude 10. */
const SHEAR = 0.3;
/** Largest translation at magnitude 10, as a fraction of the side. */
const SHIFT = 0.45;
/** Largest rotation at magnitude 10. */
const DEGREES = 30;

/** Changes an image in place or returns a new one. @param magnitude 0 to 10 */
type Operation = (image: Pixels, magnitude: number, context: AugmentContext) => Pixels;

/** The magnitude as a fraction of the largest one. */
const share = (magnitude: number): number => magnitude / MOST_MAGNITUDE;

/** Makes an operation from a function that changes the image in place. */
const inPlace =
  (change: (image: Pixels, magnitude: number, context: AugmentContext) => void): Operation =>
  (image, magnitude, context) => {
    change(image, magnitude, context);
    return image;
  };

/** The amount with a random sign. */
const eitherWay = (amount: number, { random }: AugmentContext): number => (random.chance(0.5) ? -amount : amount);

/** Makes an operation that applies the affine transform returned by `matrix`. */
const moved =
  (matrix: (image: Pixels, magnitude: number, context: AugmentContext) => Affine): Operation =>
  (image, magnitude, context) => {
    const affine = matrix(image, magnitude, context);
    const { fill, random } = context;
    const interpolation =
      context.interpolation === "random" ? random.pick(["bilinear", "bicubic"] as const) : context.interpolation;
    return transformed(image, affine, { interpolation, fill });
  };

/** Makes an enhancement by a factor from 0.1 to 1.9. Magnitude 5 changes nothing. */
const enhanced = (enhance: (image: Pixels, factor: number) => void): Operation =>
  inPlace((image, magnitude) => enhance(image, 0.1 + 1.8 * share(magnitude)));

/** Makes an enhancement by a factor of 1 ± 0.9 · magnitude / 10, with a random sign. */
const enhancedIncreasing = (enhance: (image: Pixels, factor: number) => void): Operation =>
  inPlace((image, magnitude, context) => enhance(image, Math.max(0.1, 1 + eitherWay(0.9 * share(magnitude), context))));

const OPERATIONS = {
  autoContrast: inPlace(autoContrast),
  equalize: inPlace(equalize),
  invert: inPlace(invert),
  rotate: moved((image, magnitude, context) => rotation(image, eitherWay(DEGREES * share(magnitude), context))),
  /** keeps 0 to 4 bits: smaller magnitudes are stronger */
  posterize: inPlace((image, magnitude) => posterize(image, Math.trunc(4 * share(magnitude)))),
  /** keeps 4 to 0 bits */
  posterizeIncreasing: inPlace((image, magnitude) => posterize(image, 4 - Math.trunc(4 * share(magnitude)))),
  /** keeps 4 to 8 bits, as in AutoAugment's paper */
  posterizeOriginal: inPlace((image, magnitude) => posterize(image, 4 + Math.trunc(4 * share(magnitude)))),
  solarize: inPlace((image, magnitude) => solarize(image, Math.trunc(256 * share(magnitude)))),
  solarizeIncreasing: inPlace((image, magnitude) => solarize(image, 256 - Math.trunc(256 * share(magnitude)))),
  solarizeAdd: inPlace((image, magnitude) => solarizeAdd(image, { add: Math.trunc(110 * share(magnitude)) })),
  color: enhanced(saturation),
  colorIncreasing: enhancedIncreasing(saturation),
  contrast: enhanced(contrast),
  contrastIncreasing: enhancedIncreasing(contrast),
  brightness: enhanced(brightness),
  brightnessIncreasing: enhancedIncreasing(brightness),
  sharpness: enhanced(sharpness),
  sharpnessIncreasing: enhancedIncreasing(sharpness),
  shearX: moved((_, magnitude, context) => [1, eitherWay(SHEAR * share(magnitude), context), 0, 0, 1, 0]),
  shearY: moved((_, magnitude, context) => [1, 0, 0, eitherWay(SHEAR * share(magnitude), context), 1, 0]),
  translateX: moved(({ width }, magnitude, context) => [
    1,
    0,
    eitherWay(SHIFT * share(magnitude), context) * width,
    0,
    1,
    0,
  ]),
  translateY: moved(({ height }, magnitude, context) => [
    1,
    0,
    0,
    0,
    1,
    eitherWay(SHIFT * share(magnitude), context) * height,
  ]),
} satisfies Record<string, Operation>;

/** Name of an operation. */
export type OperationName = keyof typeof OPERATIONS;

/** Applies an operation. The image may be changed in place; use the returned one. */
export function augmented(
  image: Pixels,
  { operation, magnitude }: { operation: OperationName; magnitude: number },
  context: AugmentContext,
): Pixels {
  return OPERATIONS[operation](image, magnitude, context);
}
