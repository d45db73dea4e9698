// Settings of the transforms from a decoded image to the input of a network, for evaluation and training, and their
// validation.

import type { CropMode, CropRounding, Interpolation } from "../../architectures/parts/image-terms.ts";
import { expectSetting } from "../../engine/ops/operands.ts";

export type { CropMode, CropRounding, Interpolation } from "../../architectures/parts/image-terms.ts";

/**
 * The evaluation transform of torchvision, timm and Hugging Face: resize to ⌊size / cropShare⌋, then crop the center.
 */
export interface EvaluationTransform {
  kind: "evaluate";
  /** side of the crop relative to the resized image. Default 0.875 */
  cropShare?: number;
  /** Default bicubic */
  interpolation?: Interpolation;
  /**
   * which side is resized to that length: with `center` the shorter one; with `squash` both, regardless of the aspect
   * ratio, as in Hugging Face's ViT; with `border` the longer one, and a border fills the rest. Default `center`
   */
  cropMode?: CropMode;
  /** rounding of the position of the crop to whole pixels. Default `half-even`, as in torchvision and timm */
  cropRounding?: CropRounding;
  /** color of the border, 0 to 255. Default black */
  border?: readonly [number, number, number];
}

/** Random erasing (Zhong et al. 2017, arXiv 1708.04896). */
export interface RandomErasing {
  /** Default 0.25 */
  probability?: number;
  /** `pixel`: independent normal noise; `constant`: the mean. Default `pixel` */
  fill?: "pixel" | "constant";
  /** range of the area relative to the image. Default [0.02, 1/3] */
  area?: readonly [number, number];
  /** smallest ratio of height to width; the largest is its inverse. Default 0.3 */
  aspect?: number;
}

/** Strengths of torchvision's ColorJitter: 0.4 draws a factor from 0.6 to 1.4. */
export interface ColorJitter {
  brightness?: number;
  contrast?: number;
  saturation?: number;
  /** as a share of the color circle, at most 0.5 */
  hue?: number;
}

/** RandAugment (Cubuk et al. 2019, arXiv 1909.13719) with timm's rules. */
export interface RandAugmentSettings {
  /** operations per image. Default 2 */
  operations?: number;
  /** 0 to 10. Default 9 */
  magnitude?: number;
  /** standard deviation of the magnitude. Default 0.5 */
  deviation?: number;
  /** probability of each operation. Default 0.5 */
  probability?: number;
  /** whether a larger magnitude is a stronger change for all operations (timm's `inc1`). Default false */
  increasing?: boolean;
}

/** Applied in this order: crop, flip, RandAugment or AutoAugment or color jitter, normalization, random erasing. */
export interface TrainingTransform {
  kind: "train";
  /**
   * `resized`: a random part of the image, resized (torchvision's RandomResizedCrop); `padded`: a random crop of the
   * image with a black border, as for CIFAR; `evaluate`: as in evaluation. Default `resized`
   */
  crop?:
    | {
        kind: "resized";
        /** range of the area relative to the image. Default [0.08, 1] */
        scale?: readonly [number, number];
        /** range of width / height. Default [3/4, 4/3] */
        ratio?: readonly [number, number];
        /** Default `random`: drawn for each image, as in timm */
        interpolation?: "bilinear" | "bicubic" | "random";
      }
    | {
        kind: "padded";
        /** pixels of the border on each side. Default 4 */
        padding?: number;
      }
    | EvaluationTransform;
  /** probability of a horizontal flip. Default 0.5 */
  flip?: number;
  /** At most one of randAugment, autoAugment and colorJitter may be set */
  randAugment?: RandAugmentSettings;
  autoAugment?: "imagenet" | "cifar10";
  colorJitter?: ColorJitter;
  erasing?: RandomErasing;
}

/** The transform of a decoded image to the input of a network. */
export type ImageTransform = EvaluationTransform | TrainingTransform;

/** What is done to every image. */
export interface PrepareSettings {
  /** side of the square input of the network, pixels */
  size: number;
  transform: ImageTransform;
  /** mean of red, green and blue, values from 0 to 1 */
  mean: readonly [number, number, number];
  /** standard deviation of red, green and blue */
  std: readonly [number, number, number];
}

/** Options of `imageLoader`. */
export interface ImageLoaderOptions {
  /** side of the square input of the network, pixels */
  size: number;
  /** `evaluate` stands for the evaluation transform with its defaults */
  transform: ImageTransform | "evaluate";
  /** mean of red, green and blue, values from 0 to 1 */
  mean: readonly [number, number, number];
  /** standard deviation of red, green and blue */
  std: readonly [number, number, number];
  /** background of transparent pixels. Default: none, opacity is dropped as by Pillow's `convert("RGB")` */
  transparency?: "white" | undefined;
  /** worker threads, 0 for none. Default: one per core, at most 16. Pixels do not depend on it */
  workers?: number | undefined;
  /** skip and count images that cannot be decoded instead of failing. Default false */
  skipBad?: boolean | undefined;
}

const OPERATION = "imageLoader";

/** Validates settings before a thread is started. @throws ShapeError that names the setting and what was expected */
export function checkTransform({ size, transform, mean, std }: PrepareSettings): void {
  const share = (value: number) => value >= 0 && value <= 1;
  const range = ([low, high]: readonly [number, number]) => low > 0 && low <= high && Number.isFinite(high);
  const expect = (name: string, value: unknown, what: string, holds: boolean) =>
    expectSetting(OPERATION, { [name]: value }, what, holds);
  expect("size", size, "a whole number of pixels, 1 or more", Number.isInteger(size) && size >= 1);
  expect("mean", mean, "three numbers", mean.length === 3 && mean.every(Number.isFinite));
  expect("std", std, "three numbers above 0", std.length === 3 && std.every((value) => value > 0));
  const evaluated = transform.kind === "evaluate" ? transform : transform.crop;
  if (evaluated?.kind === "evaluate") {
    const { cropShare = 1 } = evaluated;
    expect("cropShare", cropShare, "above 0, at most 1", cropShare > 0 && cropShare <= 1);
  }
  if (transform.kind === "evaluate") return;
  const { crop, flip = 0, erasing, randAugment, autoAugment, colorJitter } = transform;
  const chosen = Object.entries({ randAugment, autoAugment, colorJitter }).filter(([, value]) => value !== undefined);
  const names = chosen.map(([name]) => name).join(" and ");
  expect("augmentation", names, "one of randAugment, autoAugment and colorJitter", chosen.length <= 1);
  expect("flip", flip, "from 0 to 1", share(flip));
  if (crop?.kind === "resized") {
    if (crop.scale)
      expect("scale", crop.scale, "two shares above 0, the smaller first", range(crop.scale) && crop.scale[1] <= 1);
    if (crop.ratio) expect("ratio", crop.ratio, "two numbers above 0, the smaller first", range(crop.ratio));
  }
  const { padding = 0 } = crop?.kind === "padded" ? crop : {};
  expect("padding", padding, "a whole number, 0 or more", Number.isInteger(padding) && padding >= 0);
  const { probability = 0, area = [0.1, 0.1], aspect = 1 } = erasing ?? {};
  expect("erasing probability", probability, "from 0 to 1", share(probability));
  expect("erasing area", area, "two shares above 0, the smaller first", range(area) && area[1] <= 1);
  expect("erasing aspect", aspect, "above 0, at most 1", aspect > 0 && aspect <= 1);
  const { magnitude = 0, hue = 0 } = { ...randAugment, ...colorJitter };
  expect("magnitude", magnitude, "from 0 to 10", magnitude >= 0 && magnitude <= 10);
  expect("hue", hue, "from 0 to 0.5", hue >= 0 && hue <= 0.5);
}
