// Prepares images for a network: reads, decodes, transforms and normalizes them. The result depends on the settings and
// the seed of an image only, not on the thread that prepares it.

import { openFile } from "../../../hub/files/byte-source.ts";
import { DataError, why } from "../errors.ts";
import { RandomStream } from "../random.ts";
import { colorJitter } from "./augment/color.ts";
import { erase } from "./augment/mix-and-erase.ts";
import type { AugmentContext } from "./augment/operations.ts";
import { autoAugment, randAugment } from "./augment/policies.ts";
import { evaluationView, randomPaddedCrop, randomResizedCrop } from "./crop.ts";
import { type DecodeOptions, decodeImage, ImageError } from "./decode.ts";
import { mirror, type Pixels } from "./pixels.ts";
import type { PrepareSettings, TrainingTransform } from "./transform.ts";
import type { ImagePlace } from "./types.ts";

/** Settings of a loader, which every thread receives at its start. */
export interface LoaderSettings extends PrepareSettings, DecodeOptions {
  /** shared memory for decoded images, if they are small enough */
  decoded?: DecodedImages | undefined;
}

/** Some images for a thread to prepare. */
export interface ImageJob {
  /** indices in the set */
  items: readonly number[];
  places: ImagePlace[];
  /** seed of the random transforms of each image */
  seeds: number[];
}

/** Prepared images. */
export interface ImageAnswer {
  /** (images, size, size, 3); zeros for images with a problem */
  pixels: Float32Array<ArrayBuffer>;
  /** why an image cannot be used, as a clause, by its index in the job */
  problems: Record<number, string>;
  /** indices in the job of 16-bit grayscale images whose values above 255 were clipped */
  clipped: number[];
}

/**
 * Prepares the images of a job. Problems with single images are returned.
 * @throws DataError if a file cannot be read, because this affects more than one image
 */
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

/** Pixels of image i of a job: the stored ones, otherwise the image is read and decoded. */
async function pixelsOf(
  { items, places }: ImageJob,
  i: number,
  { decoded, transparency }: LoaderSettings,
): Promise<Pixels & { clipped?: boolean }> {
  const item = items[i] as number;
  const known = decoded && recalled(decoded, item);
  if (known) return known;
  const image = await decodeImage(await readImage(places[i] as ImagePlace), { transparency });
  if (decoded) keep(decoded, item, image);
  return image;
}

/**
 * Reads the encoded bytes of an image, unless they are given. The file is opened for every image: a data set may have
 * more files than the threads of a process may hold open, and opening one costs little compared with decoding.
 * @throws DataError if the file does not exist or is too short
 */
export async function readImage(place: ImagePlace): Promise<Uint8Array<ArrayBuffer>> {
  if ("bytes" in place) return place.bytes;
  const { file, start, length } = place;
  const source = await openFile(file, (problem, options) => new DataError(file, problem, options));
  try {
    return await source.read(start, length ?? source.size - start);
  } finally {
    await source.close();
  }
}

/**
 * Decoded images in memory that the threads of a loader share. For small images such as those of CIFAR, decoding takes
 * most of the time. Larger images are not kept, because they would fill the memory.
 */
interface DecodedImages {
  /** side in pixels; images of another size are not stored */
  edge: number;
  /** (images, edge, edge, 3) bytes */
  pixels: SharedArrayBuffer;
  /** (images) bytes; 1 if the image is stored */
  kept: SharedArrayBuffer;
}

/** Largest side, in pixels, of images that are kept decoded. */
const MOST_EDGE = 64;
/** Largest size, in bytes, of the memory for decoded images. */
const MOST_BYTES = 2 ** 29;

/**
 * Allocates memory for the decoded images of a set; undefined if it would be too large.
 * @param options.size side in pixels
 */
export function roomForDecoded({ images, size }: { images: number; size: number }): DecodedImages | undefined {
  const bytes = images * size * size * 3;
  if (size > MOST_EDGE || bytes > MOST_BYTES) return undefined;
  return { edge: size, pixels: new SharedArrayBuffer(bytes), kept: new SharedArrayBuffer(images) };
}

/** Returns a copy of a stored image. Undefined if it is not stored. */
function recalled({ edge, pixels, kept }: DecodedImages, item: number): Pixels | undefined {
  if (Atomics.load(new Uint8Array(kept), item) === 0) return undefined;
  const each = edge * edge * 3;
  return { width: edge, height: edge, data: new Uint8Array(new Uint8Array(pixels, item * each, each)) };
}

/** Stores a decoded image. Two threads may store the same image concurrently, because they write the same bytes. */
function keep({ edge, pixels, kept }: DecodedImages, item: number, { width, height, data }: Pixels): void {
  if (width !== edge || height !== edge) return;
  new Uint8Array(pixels, item * data.length, data.length).set(data);
  Atomics.store(new Uint8Array(kept), item, 1);
}

/** Transforms and normalizes an image. Writes (size, size, 3) numbers to `out`; may change the image. */
function prepareImage(
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

/** Writes (value / 255 − mean) / std for each channel to `out`, (size, size, 3). */
function normalize({ data }: Pixels, { mean, std }: PrepareSettings, out: Float32Array): void {
  for (let c = 0; c < 3; c++) {
    const factor = 1 / (255 * (std[c] as number));
    const shift = (mean[c] as number) / (std[c] as number);
    for (let i = c; i < data.length; i += 3) out[i] = (data[i] as number) * factor - shift;
  }
}
