// What evaluation does to an image: the shorter side to size / crop share, then the centre, with the roundings of
// torchvision and timm.

import type { Pixels } from "./pixels.ts";
import { resize } from "./resample.ts";
import type { EvaluationTransform } from "./transform.ts";

/** @param settings.size edge of the result, pixels */
export function evaluationView(
  image: Pixels,
  {
    size,
    cropShare = 0.875,
    interpolation = "bicubic",
    fit = "shorter",
  }: Omit<EvaluationTransform, "kind"> & { size: number },
): Pixels {
  const edge = Math.floor(size / cropShare);
  const { width, height } = fit === "squash" ? { width: edge, height: edge } : shorterTo(edge, image);
  const window = { left: centred(width, size), top: centred(height, size), width: size, height: size };
  return resize(image, { width, height, interpolation, window });
}

function shorterTo(edge: number, { width, height }: Pixels): { width: number; height: number } {
  return width <= height
    ? { width: edge, height: Math.trunc((edge * height) / width) }
    : { width: Math.trunc((edge * width) / height), height: edge };
}

/** Python rounds halves to the even one. */
function centred(length: number, size: number): number {
  const start = (length - size) / 2;
  const down = Math.floor(start);
  if (start - down !== 0.5) return Math.round(start);
  return down % 2 === 0 ? down : down + 1;
}
