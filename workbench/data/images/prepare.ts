// One image from its pixels to what a network sees; which thread does it changes no number.

import { DataError, why } from "../errors.ts";
import { colorJitter } from "./augment/color.ts";
import { erase } from "./augment/mix-and-erase.ts";
import type { AugmentContext } from "./augment/operations.ts";
import { autoAugment, randAugment } from "./augment/policies.ts";
import { evaluationView, randomPaddedCrop, randomResizedCrop } from "./crop.ts";
import { type DecodeOptions, decodeImage, ImageError } from "./decode.ts";
import { mirror, type Pixels } from "./pixels.ts";
import { RandomStream } from "./random.ts";
import { readPlace } from "./sets/image-set.ts";
import type { ImageTransform, TrainingTransform } from "./transform.ts";
import type { ImagePlace } from "./types.ts";

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

// Some images as a thread is given them, and what it gives back: read, decoded, and prepared.

/** What all threads of a loader are told at their start. */
export interface LoaderSettings extends PrepareSettings, DecodeOptions {
  /** where images are kept that are decoded */
  decoded?: DecodedImages | undefined;
}

export interface ImageJob {
  /** of the set */
  items: readonly number[];
  places: ImagePlace[];
  /** of all that is random in each */
  seeds: number[];
}

export interface ImageAnswer {
  /** (images, size, size, 3); zeros where there is a problem */
  pixels: Float32Array<ArrayBuffer>;
  /** why an image cannot be used, as a clause, by its place in the job */
  problems: Record<number, string>;
  /** places in the job of 16 bit grayscale that lost what is above 255 */
  clipped: number[];
}

/** @throws DataError when a file cannot be read: that is no fault of one image */
export async function prepareImages(job: ImageJob, settings: LoaderSettings): Promise<ImageAnswer> {
  const { places, seeds } = job;
  const each = settings.size * settings.size * 3;
  const pixels = new Float32Array(places.length * each);
  const problems: Record<number, string> = {};
  const clipped: number[] = [];
  for (const i of places.keys()) {
    const out = pixels.subarray(i * each, (i + 1) * each);
    try {
      const image = await pixelsOf(job, i, settings);
      if (image.clipped) clipped.push(i);
      prepareImage(image, { settings, seed: seeds[i] as number, out });
    } catch (error) {
      if (error instanceof DataError) throw error;
      problems[i] = error instanceof ImageError ? error.message : `cannot be prepared: ${why(error)}`;
    }
  }
  return { pixels, problems, clipped };
}

async function pixelsOf(
  { items, places }: ImageJob,
  i: number,
  { decoded, transparency }: LoaderSettings,
): Promise<Pixels & { clipped?: boolean }> {
  const item = items[i] as number;
  const known = decoded && recalled(decoded, item);
  if (known) return known;
  const image = await decodeImage(await readPlace(places[i] as ImagePlace), { transparency });
  if (decoded) keep(decoded, item, image);
  return image;
}

// Small images kept as pixels once they are decoded, in memory that all threads of a loader share: at 32 × 32 decoding
// is nearly all there is to do. Not for photographs, which would fill the memory.

export interface DecodedImages {
  /** pixels; images of another width or height are not kept */
  edge: number;
  /** (images, edge, edge, 3) bytes */
  pixels: SharedArrayBuffer;
  /** (images) bytes, 1 where there is one */
  kept: SharedArrayBuffer;
}

const MOST_EDGE = 64;
const MOST_BYTES = 2 ** 29;

/** Room for a set whose images are as large as they are asked for; nothing where that is too much. */
export function roomForDecoded({ images, size }: { images: number; size: number }): DecodedImages | undefined {
  const bytes = images * size * size * 3;
  if (size > MOST_EDGE || bytes > MOST_BYTES) return undefined;
  return { edge: size, pixels: new SharedArrayBuffer(bytes), kept: new SharedArrayBuffer(images) };
}

/** The caller's own to change. */
export function recalled({ edge, pixels, kept }: DecodedImages, item: number): Pixels | undefined {
  if (Atomics.load(new Uint8Array(kept), item) === 0) return undefined;
  const each = edge * edge * 3;
  return { width: edge, height: edge, data: new Uint8Array(new Uint8Array(pixels, item * each, each)) };
}

/** Two threads may keep the same image at once: they write the same bytes. */
export function keep({ edge, pixels, kept }: DecodedImages, item: number, { width, height, data }: Pixels): void {
  if (width !== edge || height !== edge) return;
  new Uint8Array(pixels, item * data.length, data.length).set(data);
  Atomics.store(new Uint8Array(kept), item, 1);
}
