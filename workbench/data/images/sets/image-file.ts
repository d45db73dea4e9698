// Image files: the images of one parquet file, extracted for random access. Parquet files can only be read by row
// groups of some hundred images, while training reads single images in any order and thread. An image file takes as
// much disk space as the images. It is written atomically, once.
//
//   bytes        concatenated bytes of all images
//   offsets      float64, little-endian, number of images + 1
//   check        CRC-32 of the offsets, uint32
//   count        number of images, uint32
//   mark         8 bytes
//
// The images have no checksum: verifying it would take minutes, and a damaged image is noticed when it is decoded.

import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { stageFile } from "../../../../hub/files/atomic-file.ts";
import { openFile } from "../../../../hub/files/byte-source.ts";
import { DataError, why } from "../../errors.ts";

/** Version of the format. It is part of the hash that names an image file in the cache. */
export const IMAGE_FILE_FORMAT = 1;

const MARK = new TextEncoder().encode("gblrimg1");
const TRAILER_BYTES = 8 + MARK.length;

/** Offset of each image, and the end of the last one, bytes. */
export type ImageOffsets = Float64Array<ArrayBuffer>;

/** Reads the offsets of an image file. @returns undefined if the file does not exist or is damaged */
export async function readImageOffsets(path: string): Promise<ImageOffsets | undefined> {
  try {
    const source = await openFile(path, (problem, options) => new DataError(path, problem, options));
    try {
      if (source.size < TRAILER_BYTES + 8) return undefined;
      const trailer = await source.read(source.size - TRAILER_BYTES, TRAILER_BYTES);
      if (MARK.some((byte, i) => trailer[8 + i] !== byte)) return undefined;
      const [check, count] = new Uint32Array(trailer.buffer, 0, 2) as unknown as [number, number];
      const length = 8 * (count + 1);
      const start = source.size - TRAILER_BYTES - length;
      if (start < 0) return undefined;
      const bytes = await source.read(start, length);
      const offsets = new Float64Array(bytes.buffer);
      return crc32(bytes) === check && offsets[count] === start ? offsets : undefined;
    } finally {
      await source.close();
    }
  } catch (error) {
    if (error instanceof DataError) return undefined;
    throw error;
  }
}

interface ImageFileWriter {
  append(images: readonly Uint8Array[]): Promise<void>;
  /** completes the file and moves it to its path */
  commit(): Promise<ImageOffsets>;
  /** removes what was written, unless it was committed */
  discard(): Promise<void>;
}

/** Writes an image file. @throws DataError if the file cannot be written; so do the methods of the writer */
export async function writeImageFile(path: string): Promise<ImageFileWriter> {
  const orFailed = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      throw new DataError(path, `cannot be written: ${why(error)}; choose another cache folder`, { cause: error });
    });
  const staged = await orFailed(mkdir(dirname(path), { recursive: true }).then(() => stageFile(path)));
  const ends = [0];
  return {
    append: async (images) => {
      for (const image of images) {
        await orFailed(staged.append(image));
        ends.push((ends.at(-1) as number) + image.length);
      }
    },
    commit: async () => {
      const offsets = Float64Array.from(ends);
      const bytes = new Uint8Array(offsets.buffer);
      const numbers = Uint32Array.of(crc32(bytes), ends.length - 1);
      for (const part of [bytes, new Uint8Array(numbers.buffer), MARK]) await orFailed(staged.append(part));
      await orFailed(staged.finish().then(staged.commit));
      return offsets;
    },
    discard: staged.discard,
  };
}
