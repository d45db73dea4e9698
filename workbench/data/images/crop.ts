// The random parts of an image that training sees: of any size and shape, resized, as on ImageNet; or moved by some
// pixels, as on CIFAR.

import { type Box, blank, cut, type Pixels, paste } from "./pixels.ts";
import type { RandomStream } from "./random.ts";
import { resize } from "./resample.ts";
import type { Interpolation } from "./transform.ts";

const ATTEMPTS = 10;

export interface ResizedCropSettings {
  scale: readonly [number, number];
  ratio: readonly [number, number];
}

/** Where the crop is. Tried ten times; then the largest part in the middle that has a permitted ratio. */
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

export function randomResizedCrop(
  image: Pixels,
  { size, interpolation, ...settings }: ResizedCropSettings & { size: number; interpolation: Interpolation },
  random: RandomStream,
): Pixels {
  return resize(image, { width: size, height: size, interpolation, from: randomBox(image, settings, random) });
}

/** An image of another size is resized first. The border is black. */
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
