// The words in which the preparation of images is said here, whoever's file they were read from.

export const INTERPOLATIONS = ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] as const;
export type Interpolation = (typeof INTERPOLATIONS)[number];

/** What is resized to size / share, rounded down: the shorter side, both sides, or the longer side. In timm's words. */
export const CROP_MODES = ["center", "squash", "border"] as const;
export type CropMode = (typeof CROP_MODES)[number];

/** How half a pixel on each side of the middle is rounded: as torchvision and timm do, or as Hugging Face's processors. */
export type CropRounding = "half-even" | "down";

/** Of red, green and blue. */
export type Triple = readonly [number, number, number];

export interface ImageSettings {
  /** rows and columns */
  size: number;
  /** taken off each color, and what it is then divided by; of values from 0 to 1 */
  mean: Triple;
  std: Triple;
  interpolation: Interpolation;
  /** of the side that is resized, that the middle square which is kept takes; above 0 to 1 */
  cropShare: number;
  cropMode: CropMode;
  /** default `half-even` */
  cropRounding?: CropRounding;
  /** what is behind transparent pixels. Default none: transparency is dropped */
  transparency?: "white";
  classes: number;
  /** by class, where the config has names */
  labels?: readonly string[];
}

/** How images of a family's checkpoints are prepared where those do not say. */
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
