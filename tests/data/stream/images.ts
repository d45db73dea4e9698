// Data sets of images for streams, whose labels show which rows they are.

import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ImageShardsOptions } from "../../../workbench/data/images/index.ts";
import { plainImage } from "../images/image-sets.ts";
import { parquetFile } from "../write-parquet.ts";
import { filesAt } from "./rows.ts";

/** Edge of the images, in pixels. */
export const EDGE = 16;

/**
 * Writes files of images whose labels are their numbers.
 * @param sizes rows of each row group of each file
 * @param encode the bytes of an image. Default: a picture
 * @returns the number of images
 */
export async function writeImages(
  folder: string,
  sizes: readonly (readonly number[])[],
  encode: (row: number) => Uint8Array | Promise<Uint8Array> = (row) => plainImage(row, { width: EDGE, height: EDGE }),
): Promise<number> {
  let row = 0;
  for (const [i, groups] of sizes.entries()) {
    const values: { image: { bytes: Uint8Array; path: null }[]; label: bigint[] }[] = [];
    for (const count of groups) {
      const rows = Array.from({ length: count }, () => row++);
      const image = await Promise.all(rows.map(async (each) => ({ bytes: await encode(each), path: null })));
      values.push({ image, label: rows.map(BigInt) });
    }
    const path = join(folder, `data/train-${i}.parquet`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, parquetFile(values));
  }
  return row;
}

/** Options to open such images. @param counted counts the files that are open, and the bytes that were read */
export function shardsAt(
  folder: string,
  counted: { open: number; bytes: number },
  { head = 1000, ...changes }: Partial<ImageShardsOptions> = {},
): ImageShardsOptions {
  const names = readdirSync(join(folder, "data")).sort();
  const files = filesAt(
    names.map((name) => join(folder, "data", name)),
    counted,
  );
  const split = { dataset: folder, config: "default", split: "train" };
  return { ...split, files: files.map((file) => ({ file })), head, ...changes };
}
