// Crops of an image: the center crop of evaluation, with the rounding of torchvision and timm, and the random crops of
// training.

import type { RandomStream } from "../random.ts";
import { type Box, blank, cut, type Pixels, paste, plain } from "./pixels.ts";
import { resize } from "./resample.ts";
import type { CropMode, CropRounding, EvaluationTransform, Interpolation } from "./transform.ts";

interface Size {
  width: number;
  height: number;
}

/**
 * Size to which an image is resized before the crop, by crop mode.
 * @param edge length of the resized side, or of both
 */
const SIZES: Readonly<Record<CropMode, (edge: number, image: Size) => Size>> = {
  center: (edge, { width, height }) =>
    width <= height
      ? { width: edge, height: Math.trunc((edge * height) / width) }
      : { width: Math.trunc((edge * width) / height), height: edge },
  squash: (edge) => ({ width: edge, height: edge }),
  border: (edge, { width, height }) => {
    const ratio = Math.max(width, height) / edge;
    return { width: Math.max(1, roundEven(width / ratio)), height: Math.max(1, roundEven(height / ratio)) };
  },
};

/**
 * The evaluation transform: resizes an image and crops its center, bit-identical to torchvision's and timm's on Pillow.
 * @param settings.size side of the result, pixels
 */
export function evaluationView(
  image: Pixels,
  {
    size,
    cropShare = 0.875,
    interpolation = "bicubic",
    cropMode = "center",
    cropRounding = "half-even",
    border = [0, 0, 0],
  }: Omit<EvaluationTransform, "kind"> & { size: number },
): Pixels {
  const { width, height } = SIZES[cropMode](Math.floor(size / cropShare), image);
  const [across, down] = [width, height].map((length) => cropSide(length, size, cropRounding)) as [CropSide, CropSide];
  const window = { left: across.first, top: down.first, width: across.count, height: down.count };
  const view = resize(image, { width, height, interpolation, window });
  if (view.width === size && view.height === size) return view;
  const whole = plain(size, size, border);
  paste(whole, view, { left: across.before, top: down.before });
  return whole;
}

/**
 * Center crop along one side: the first pixel and the number of pixels that are kept, and the pixels of border before
 * them.
 */
interface CropSide {
  first: number;
  count: number;
  before: number;
}

function cropSide(length: number, size: number, rounding: CropRounding): CropSide {
  const round = rounding === "down" ? Math.floor : roundEven;
  if (length >= size) return { first: round((length - size) / 2), count: size, before: 0 };
  return { first: 0, count: length, before: Math.floor((size - length) / 2) };
}

/**
 * The mean as a color from 0 to 255. A border of this color is close to 0 after normalization.
 * @param mean mean of values from 0 to 1
 */
export const borderOf = (mean: readonly [number, number, number]): [number, number, number] =>
  mean.map((value) => roundEven(255 * value)) as [number, number, number];

/** Rounds halves to even, as Python's `round` does. */
function roundEven(value: number): number {
  const down = Math.floor(value);
  if (value - down !== 0.5) return Math.round(value);
  return down % 2 === 0 ? down : down + 1;
}

/** Boxes that are drawn before the central one is used. */
const ATTEMPTS = 10;

/** Ranges of the area relative to the image, and of width / height. */
interface ResizedCropSettings {
  scale: readonly [number, number];
  ratio: readonly [number, number];
}

/**
 * Draws the box of a random resized crop, as torchvision's RandomResizedCrop does: after ten failed attempts, the
 * largest central box with an allowed aspect ratio.
 */
export function randomBox(
  { width, height }: Pick<Pixels, "width" | "height">,
  { scale, ratio }: ResizedCropSettings,
  random: RandomStream,
): Box {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const area = width * height * random.uniform(...scale);
    const shape = Math.exp(random.uniform(Math.log(ratio[0]), Math.log(ratio[1])));
    const [w, h] = [Math.round(Math.sqrt(area * shape)), Math.round(Math.sqrt(area / shape))];
    if (w < 1 || h < 1 || w > width || h > height) continue;
    return { left: random.integer(0, width - w), top: random.integer(0, height - h), width: w, height: h };
  }
  const shape = width / height;
  const w = shape > ratio[1] ? Math.max(1, Math.round(height * ratio[1])) : width;
  const h = shape < ratio[0] ? Math.max(1, Math.round(width / ratio[0])) : height;
  return { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
}

/** Crops a random box and resizes it to size × size. */
export function randomResizedCrop(
  image: Pixels,
  { size, interpolation, ...settings }: ResizedCropSettings & { size: number; interpolation: Interpolation },
  random: RandomStream,
): Pixels {
  return resize(image, { width: size, height: size, interpolation, from: randomBox(image, settings, random) });
}

/**
 * Crops size × size pixels at random from an image with a black border, as torchvision's RandomCrop with padding does.
 * An image of another size is resized first.
 */
export function randomPaddedCrop(
  image: Pixels,
  { size, padding }: { size: number; padding: number },
  random: RandomStream,
): Pixels {
  const whole =
    image.width === size && image.height === size
      ? image
      : resize(image, { width: size, height: size, interpolation: "bicubic" });
  const [left, top] = [random.integer(-padding, padding), random.integer(-padding, padding)];
  const seen = {
    left: Math.max(0, left),
    top: Math.max(0, top),
    width: size - Math.abs(left),
    height: size - Math.abs(top),
  };
  const moved = blank(size, size);
  if (seen.width <= 0 || seen.height <= 0) return moved;
  paste(moved, cut(whole, seen), { left: Math.max(0, -left), top: Math.max(0, -top) });
  return moved;
}
