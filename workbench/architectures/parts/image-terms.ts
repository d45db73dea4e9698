// The settings of image preparation, independent of the file that describes them.

/** Interpolations for resizing images. */
export const INTERPOLATIONS = ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] as const;
export type Interpolation = (typeof INTERPOLATIONS)[number];

/**
 * timm's names for the side that is resized to floor(size / share): `center` the shorter, `squash` both, `border` the
 * longer.
 */
export const CROP_MODES = ["center", "squash", "border"] as const;
/** How an image of any shape is made square. */
export type CropMode = (typeof CROP_MODES)[number];

/**
 * Rounding of the center crop's offset: `half-even` as in torchvision and timm, `down` as in Hugging Face's processors.
 */
export type CropRounding = "half-even" | "down";

/** Red, green and blue. */
export type Triple = readonly [number, number, number];

/** How images are prepared for a model. */
export interface ImageSettings {
  /** rows and columns */
  size: number;
  /** subtracted from each color, whose values are from 0 to 1 */
  mean: Triple;
  /** divisor of each color after the subtraction of `mean` */
  std: Triple;
  interpolation: Interpolation;
  /** share of the resized side that the center crop keeps, in (0, 1] */
  cropShare: number;
  cropMode: CropMode;
  /** default `half-even` */
  cropRounding?: CropRounding;
  /** background of transparent pixels. Default: none, the alpha channel is dropped */
  transparency?: "white";
  classes: number;
  /** names of the classes, if the config has them */
  labels?: readonly string[];
}

/** Preparation of images if a checkpoint does not describe it. */
export type UsualPreparation = Readonly<Omit<ImageSettings, "size" | "classes">>;

/** Mean and standard deviation of the colors of ImageNet. */
export const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;
/** Mean and standard deviation that map values from 0 to 1 to −1 to 1. */
export const HALF = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;

/** torchvision's preparation of images for evaluation. */
export const TORCHVISION: UsualPreparation = {
  ...IMAGENET,
  interpolation: "bilinear",
  cropShare: 0.875,
  cropMode: "center",
};
