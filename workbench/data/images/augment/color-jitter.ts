// Color jitter: brightness, contrast, saturation and hue changed at random, in a random order, as torchvision does it.

import type { Pixels } from "../pixels.ts";
import type { RandomStream } from "../random.ts";
import type { ColorJitter } from "../transform.ts";
import { brightness, contrast, hue, saturation } from "./color.ts";

/** In place. */
export function colorJitter(image: Pixels, strengths: ColorJitter, random: RandomStream): Pixels {
  const factor = (strength: number) => random.uniform(Math.max(0, 1 - strength), 1 + strength);
  const changes: [number | undefined, (strength: number) => void][] = [
    [strengths.brightness, (strength) => brightness(image, factor(strength))],
    [strengths.contrast, (strength) => contrast(image, factor(strength))],
    [strengths.saturation, (strength) => saturation(image, factor(strength))],
    [strengths.hue, (strength) => hue(image, random.uniform(-strength, strength))],
  ];
  for (const at of random.order(changes.length)) {
    const [strength, change] = changes[at] as (typeof changes)[number];
    if (strength) change(strength);
  }
  return image;
}
