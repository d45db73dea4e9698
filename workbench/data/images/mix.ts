// Which images of a batch are mixed and how: mixup (Zhang et al. 2018, arXiv 1710.09412) and cutmix (Yun et al. 2019,
// arXiv 1905.04899) with timm's rules. Each image's partner is the one at the same place from the batch's other end. The
// numbers only; pixels are mixed where they are.

import { RandomStream } from "./random.ts";

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
