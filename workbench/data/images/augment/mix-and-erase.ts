// Mixup (Zhang et al. 2018, arXiv 1710.09412), cutmix (Yun et al. 2019, arXiv 1905.04899) and random erasing (Zhong et
// al. 2017, arXiv 1708.04896) with timm's rules. Only the parameters of mixup and cutmix are drawn here;
// train/image-task.ts applies them to batches, where image i is mixed with image n - 1 - i.

import { RandomStream } from "../../random.ts";
import type { RandomErasing } from "../transform.ts";

/** Settings of mixup and cutmix. */
export interface MixSettings {
  /** α of mixup's Beta distribution; 0 for no mixup. Default 0 */
  mixup?: number;
  /** α of cutmix's Beta distribution; 0 for no cutmix. Default 0 */
  cutmix?: number;
  /** probability that a batch is mixed. Default 1 */
  probability?: number;
  /** probability of cutmix if both are enabled. Default 0.5 */
  switching?: number;
}

/** How a batch is mixed. `share` is the weight of an image's own label in its target; its partner has the rest. */
export type Mix =
  | { kind: "mixup"; share: number }
  | {
      kind: "cutmix";
      share: number;
      /** rows top … bottom − 1 and columns left … right − 1 are taken from the partner */
      box: { top: number; bottom: number; left: number; right: number };
    };

/**
 * Draws how a batch is mixed.
 * @param options.size side of the images in pixels
 * @returns undefined if the batch is not mixed
 */
export function drawMix(
  { mixup = 0, cutmix = 0, probability = 1, switching = 0.5 }: MixSettings,
  { size, seed }: { size: number; seed: number },
): Mix | undefined {
  const random = new RandomStream(seed);
  if ((mixup <= 0 && cutmix <= 0) || !random.chance(probability)) return undefined;
  const cuts = cutmix > 0 && (mixup <= 0 || random.chance(switching));
  const share = random.beta(cuts ? cutmix : mixup);
  return cuts ? cut(share, size, random) : { kind: "mixup", share };
}

/**
 * Draws the box of cutmix: a square of relative area 1 − share around a random center, clipped to the image. The share
 * is then corrected to the clipped area.
 */
function cut(share: number, size: number, random: RandomStream): Mix {
  const half = Math.floor(Math.trunc(size * Math.sqrt(1 - share)) / 2);
  const [y, x] = [random.integer(0, size - 1), random.integer(0, size - 1)];
  const within = (place: number) => Math.max(0, Math.min(size, place));
  const box = { top: within(y - half), bottom: within(y + half), left: within(x - half), right: within(x + half) };
  const area = (box.bottom - box.top) * (box.right - box.left);
  return { kind: "cutmix", share: 1 - area / (size * size), box };
}

/** Rectangles that are drawn before an image is left unchanged. */
const ATTEMPTS = 10;

/**
 * Random erasing: replaces a random rectangle with normal noise or the mean, in place.
 * @param image (size, size, 3), normalized
 */
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
