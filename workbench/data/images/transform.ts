// What is done to a decoded image before a network sees it: settings only, of evaluation and of training.

import type { CropMode, CropRounding, Interpolation } from "../../architectures/parts/image-terms.ts";
import { expectSetting } from "../../engine/ops/operands.ts";
import type { PrepareSettings } from "./prepare.ts";

export type { CropMode, CropRounding, Interpolation } from "../../architectures/parts/image-terms.ts";

/** As torchvision, timm and Hugging Face evaluate: resized to size / crop share, rounded down, then the center. */
export interface EvaluationTransform {
  kind: "evaluate";
  /** share of the resized image's side that the center crop keeps. Default 0.875 */
  cropShare?: number;
  /** default bicubic */
  interpolation?: Interpolation;
  /**
   * what is resized to that: `center` the shorter side; `squash` both, whatever the image's shape, as Hugging Face's ViT;
   * `border` the longer one, with a border about what is then too short. Default `center`
   */
  cropMode?: CropMode;
  /** of half a pixel where the middle is cut out. Default `half-even`, as torchvision and timm */
  cropRounding?: CropRounding;
  /** color of the border, 0 to 255. Default black */
  border?: readonly [number, number, number];
}

export interface RandomErasing {
  /** default 0.25 */
  probability?: number;
  /** `pixel`: normal noise, each value its own; `constant`: the mean. Default pixel */
  fill?: "pixel" | "constant";
  /** least and most of the image's area. Default [0.02, 1/3] */
  area?: readonly [number, number];
  /** least ratio of height to width, the most its inverse. Default 0.3 */
  aspect?: number;
}

/** Strengths; 0.4 draws a factor from 0.6 to 1.4. */
export interface ColorJitter {
  brightness?: number;
  contrast?: number;
  saturation?: number;
  /** of the circle, at most 0.5 */
  hue?: number;
}

export interface RandAugmentSettings {
  /** operations an image. Default 2 */
  operations?: number;
  /** 0 to 10. Default 9 */
  magnitude?: number;
  /** standard deviation of the magnitude. Default 0.5 */
  deviation?: number;
  /** chance of each operation. Default 0.5 */
  probability?: number;
  /** magnitudes mean stronger changes for all operations (timm's `inc1`). Default false */
  increasing?: boolean;
}

/** In this order: crop, flip, RandAugment or AutoAugment or color jitter, normalization, erasing. */
export interface TrainingTransform {
  kind: "train";
  /**
   * `resized`: a random part of the image, resized; `padded`: the whole image, resized where it is of another size, with
   * a border of zeros, and of that a random part, as on CIFAR; `evaluate`: what evaluation sees
   */
  crop?:
    | {
        kind: "resized";
        /** least and most of the image's area. Default [0.08, 1] */
        scale?: readonly [number, number];
        /** least and most of width over height. Default [3/4, 4/3] */
        ratio?: readonly [number, number];
        /** default `random`: either, as timm trains */
        interpolation?: "bilinear" | "bicubic" | "random";
      }
    | {
        kind: "padded";
        /** pixels on each side. Default 4 */
        padding?: number;
      }
    | EvaluationTransform;
  /** chance of a mirror image. Default 0.5 */
  flip?: number;
  /** at most one of this and the next two */
  randAugment?: RandAugmentSettings;
  autoAugment?: "imagenet" | "cifar10";
  colorJitter?: ColorJitter;
  erasing?: RandomErasing;
}

export type ImageTransform = EvaluationTransform | TrainingTransform;

export interface ImageLoaderOptions {
  /** edge of what the network sees, pixels */
  size: number;
  /** `evaluate`: the evaluation transform with its defaults */
  transform: ImageTransform | "evaluate";
  /** of red, green, blue, values 0 to 1 */
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
  /** what is behind transparent pixels. Default none: transparency is dropped, as by Pillow's `convert("RGB")` */
  transparency?: "white" | undefined;
  /** worker threads, 0 for none; default one a core, at most 16. Changes no pixel. */
  workers?: number | undefined;
  /** leave out and count images that cannot be decoded, instead of failing. Default false */
  skipBad?: boolean | undefined;
}

// Refuses settings of image transforms that make no sense, by name, before a thread is started.

const OPERATION = "imageLoader";

/** @throws ShapeError */
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
      expect("scale", crop.scale, "two shares above 0, the lesser first", range(crop.scale) && crop.scale[1] <= 1);
    if (crop.ratio) expect("ratio", crop.ratio, "two numbers above 0, the lesser first", range(crop.ratio));
  }
  const { padding = 0 } = crop?.kind === "padded" ? crop : {};
  expect("padding", padding, "a whole number, 0 or more", Number.isInteger(padding) && padding >= 0);
  const { probability = 0, area = [0.1, 0.1], aspect = 1 } = erasing ?? {};
  expect("erasing probability", probability, "from 0 to 1", share(probability));
  expect("erasing area", area, "two shares above 0, the lesser first", range(area) && area[1] <= 1);
  expect("erasing aspect", aspect, "above 0, at most 1", aspect > 0 && aspect <= 1);
  const { magnitude = 0, hue = 0 } = { ...randAugment, ...colorJitter };
  expect("magnitude", magnitude, "from 0 to 10", magnitude >= 0 && magnitude <= 10);
  expect("hue", hue, "from 0 to 0.5", hue >= 0 && hue <= 0.5);
}
