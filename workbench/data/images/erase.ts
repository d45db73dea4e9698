// Random erasing (Zhong et al. 2017, arXiv 1708.04896) with timm's rules: a rectangle of a normalized image becomes noise
// or the mean.

import type { RandomStream } from "./random.ts";
import type { RandomErasing } from "./transform.ts";

const ATTEMPTS = 10;

/** @param image size · size · 3, changed in place */
export function erase(
  image: Float32Array,
  { size, probability = 0.25, fill = "pixel", area = [0.02, 1 / 3], aspect = 0.3 }: RandomErasing & { size: number },
  random: RandomStream,
): void {
  if (!random.chance(probability)) return;
  const most = Math.log(1 / aspect);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const target = size * size * random.uniform(...area);
    const shape = Math.exp(random.uniform(-most, most));
    const [height, width] = [Math.round(Math.sqrt(target * shape)), Math.round(Math.sqrt(target / shape))];
    if (height >= size || width >= size) continue;
    const [top, left] = [random.integer(0, size - height), random.integer(0, size - width)];
    for (let y = top; y < top + height; y++) {
      const end = 3 * (y * size + left + width);
      for (let i = 3 * (y * size + left); i < end; i++) image[i] = fill === "pixel" ? random.normal() : 0;
    }
    return;
  }
}
