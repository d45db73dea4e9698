// Which images of a batch are mixed and how: mixup (Zhang et al. 2018, arXiv 1710.09412) and cutmix (Yun et al. 2019,
// arXiv 1905.04899) with timm's rules. Each image's partner is the one at the same place from the batch's other end. The
// numbers only; pixels are mixed where they are.

import { RandomStream } from "../random.ts";
import type { RandomErasing } from "../transform.ts";

export interface MixSettings {
  /** α of the Beta distribution that an image's share is drawn from; 0 for no mixup. Default 0 */
  mixup?: number;
  /** α of cutmix; 0 for none. Default 0 */
  cutmix?: number;
  /** chance that a batch is mixed at all. Default 1 */
  probability?: number;
  /** chance of cutmix where both may be. Default 0.5 */
  switching?: number;
}

/** What a batch is mixed by; nothing: it stays. `share` is each image's own part of its target. */
export type Mix =
  | { kind: "mixup"; share: number }
  | {
      kind: "cutmix";
      share: number;
      /** rows top … bottom - 1 and columns left … right - 1 come from the partner */
      box: { top: number; bottom: number; left: number; right: number };
    };

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

/** A square of 1 - share of the area about a random center; what is outside the image is lost, and the share follows. */
function cut(share: number, size: number, random: RandomStream): Mix {
  const half = Math.floor(Math.trunc(size * Math.sqrt(1 - share)) / 2);
  const [y, x] = [random.integer(0, size - 1), random.integer(0, size - 1)];
  const within = (place: number) => Math.max(0, Math.min(size, place));
  const box = { top: within(y - half), bottom: within(y + half), left: within(x - half), right: within(x + half) };
  const area = (box.bottom - box.top) * (box.right - box.left);
  return { kind: "cutmix", share: 1 - area / (size * size), box };
}

// Random erasing (Zhong et al. 2017, arXiv 1708.04896) with timm's rules: a rectangle of a normalized image becomes noise
// or the mean.

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
