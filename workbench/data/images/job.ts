// Some images as a thread is given them, and what it gives back.

import { DataError, why } from "../errors.ts";
import { ImageError } from "./decode.ts";
import { readPlace } from "./places.ts";
import { type PrepareSettings, prepareImage } from "./prepare.ts";
import type { ImagePlace } from "./types.ts";

export interface ImageJob {
  places: ImagePlace[];
  /** of all that is random in each */
  seeds: number[];
}

export interface ImageAnswer {
  /** (images, size, size, 3); zeros where there is a problem */
  pixels: Float32Array<ArrayBuffer>;
  /** why an image cannot be used, as a clause, by its place in the job */
  problems: Record<number, string>;
}

/** @throws DataError when a file cannot be read: that is no fault of one image */
export async function prepareImages({ places, seeds }: ImageJob, settings: PrepareSettings): Promise<ImageAnswer> {
  const each = settings.size * settings.size * 3;
  const pixels = new Float32Array(places.length * each);
  const problems: Record<number, string> = {};
  for (const [i, place] of places.entries()) {
    const out = pixels.subarray(i * each, (i + 1) * each);
    try {
      await prepareImage(await readPlace(place), { settings, seed: seeds[i] as number, out });
    } catch (error) {
      if (error instanceof DataError) throw error;
      problems[i] = error instanceof ImageError ? error.message : `cannot be prepared: ${why(error)}`;
    }
  }
  return { pixels, problems };
}
