// One image from its pixels to what a network sees; which thread does it changes no number.

import { autoAugment } from "./augment/auto-augment.ts";
import { colorJitter } from "./augment/color-jitter.ts";
import type { AugmentContext } from "./augment/operations.ts";
import { randAugment } from "./augment/rand-augment.ts";
import { randomPaddedCrop, randomResizedCrop } from "./crop.ts";
import { erase } from "./erase.ts";
import { evaluationView } from "./evaluation.ts";
import { mirror, type Pixels } from "./pixels.ts";
import { RandomStream } from "./random.ts";
import type { ImageTransform, TrainingTransform } from "./transform.ts";

/** What is done to every image, the same in all threads. */
export interface PrepareSettings {
  size: number;
  transform: ImageTransform;
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
}

/** Transformed, normalized: size · size · 3 numbers into `out`. The image may be changed. */
export function prepareImage(
  image: Pixels,
  { settings, seed, out }: { settings: PrepareSettings; seed: number; out: Float32Array },
): void {
  const { size, transform } = settings;
  if (transform.kind === "evaluate") {
    normalize(evaluationView(image, { ...transform, size }), settings, out);
    return;
  }
  const random = new RandomStream(seed);
  normalize(trainingView(image, { ...settings, transform }, random), settings, out);
  if (transform.erasing) erase(out, { size, ...transform.erasing }, random);
}

function trainingView(
  image: Pixels,
  { size, transform, mean }: PrepareSettings & { transform: TrainingTransform },
  random: RandomStream,
): Pixels {
  const {
    crop = { kind: "resized" },
    flip = 0.5,
    randAugment: rand,
    autoAugment: policy,
    colorJitter: jitter,
  } = transform;
  const interpolation = crop.kind === "resized" ? (crop.interpolation ?? "random") : "random";
  const context: AugmentContext = {
    random,
    interpolation,
    fill: mean.map((value) => Math.max(0, Math.min(255, Math.round(255 * value)))) as [number, number, number],
  };
  const seen = cropped(image, { size, crop, interpolation }, random);
  if (random.chance(flip)) mirror(seen);
  if (rand) return randAugment(seen, rand, context);
  if (policy) return autoAugment(seen, policy, context);
  return jitter ? colorJitter(seen, jitter, random) : seen;
}

function cropped(
  image: Pixels,
  {
    size,
    crop,
    interpolation,
  }: {
    size: number;
    crop: NonNullable<TrainingTransform["crop"]>;
    interpolation: "bilinear" | "bicubic" | "random";
  },
  random: RandomStream,
): Pixels {
  if (crop.kind === "evaluate") return evaluationView(image, { ...crop, size });
  if (crop.kind === "padded") return randomPaddedCrop(image, { size, padding: crop.padding ?? 4 }, random);
  const { scale = [0.08, 1], ratio = [3 / 4, 4 / 3] } = crop;
  const by = interpolation === "random" ? random.pick(["bilinear", "bicubic"] as const) : interpolation;
  return randomResizedCrop(image, { size, interpolation: by, scale, ratio }, random);
}

function normalize({ data }: Pixels, { mean, std }: PrepareSettings, out: Float32Array): void {
  for (let c = 0; c < 3; c++) {
    const factor = 1 / (255 * (std[c] as number));
    const shift = (mean[c] as number) / (std[c] as number);
    for (let i = c; i < data.length; i += 3) out[i] = (data[i] as number) * factor - shift;
  }
}
