// The terms of image preparation, common to all kinds of files that describe it.

/** Interpolations that images can be resized by. */
export const INTERPOLATIONS = ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] as const;
export type Interpolation = (typeof INTERPOLATIONS)[number];

/** Which side is resized to floor(size / share), as timm names it: `center` the shorter, `squash` both, `border` the longer. */
export const CROP_MODES = ["center", "squash", "border"] as const;
/** How an image of any shape becomes a square. */
export type CropMode = (typeof CROP_MODES)[number];

/** Rounding of the center crop's offset: `half-even` as torchvision and timm, `down` as Hugging Face's processors. */
export type CropRounding = "half-even" | "down";

/** Red, green and blue. */
export type Triple = readonly [number, number, number];

/** How images are prepared for a model. */
export interface ImageSettings {
  /** rows and columns */
  size: number;
  /** subtracted from each color, values from 0 to 1; the result is divided by `std` */
  mean: Triple;
  std: Triple;
  interpolation: Interpolation;
  /** share of the resized side that the center crop keeps, above 0 to 1 */
  cropShare: number;
  cropMode: CropMode;
  /** default `half-even` */
  cropRounding?: CropRounding;
  /** background of transparent pixels. Default none: the alpha channel is dropped */
  transparency?: "white";
  classes: number;
  /** names by class, where the config has them */
  labels?: readonly string[];
}

/** How images of an architecture's checkpoints are prepared where the checkpoint does not say. */
export type UsualPreparation = Readonly<Omit<ImageSettings, "size" | "classes">>;

export const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;
export const HALF = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;

/** torchvision's presets for evaluation. */
export const TORCHVISION: UsualPreparation = {
  ...IMAGENET,
  interpolation: "bilinear",
  cropShare: 0.875,
  cropMode: "center",
};
