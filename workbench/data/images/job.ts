// Some images as a thread is given them, and what it gives back: read, decoded, and prepared.

import { DataError, why } from "../errors.ts";
import { type DecodeOptions, decodeImage, ImageError } from "./decode.ts";
import { type DecodedImages, keep, recalled } from "./decoded-images.ts";
import type { Pixels } from "./pixels.ts";
import { readPlace } from "./places.ts";
import { type PrepareSettings, prepareImage } from "./prepare.ts";
import type { ImagePlace } from "./types.ts";

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
