// Image sets of parquet files. The images of each file are extracted once, into an image file in the cache; labels are
// a small column and are read each time.

import { createHash } from "node:crypto";
import { readlink, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { chunksOf, openFile } from "../../../../hub/files/byte-source.ts";
import { openParquet, type ParquetFile } from "../../dataset/parquet-file.ts";
import type { SplitFiles } from "../../dataset/split-files.ts";
import { DataError } from "../../errors.ts";
import type { ImagePlace, ImageSet, ImagesEvent, OpenImagesOptions } from "../types.ts";
import { labelsOf } from "./classes.ts";
import { IMAGE_FILE_FORMAT, type ImageOffsets, readImageOffsets, writeImageFile } from "./image-file.ts";
import {
  type ImageColumns,
  imageBytes,
  imageColumns,
  namesInParquet,
  namesInReadme,
  type RawLabel,
  rawLabels,
} from "./parquet-columns.ts";

/** The images of one parquet file. */
interface Part {
  /** path of the parquet file, relative to the data set's folder */
  name: string;
  /** path of the image file */
  file: string;
  offsets: ImageOffsets;
  /** index of its first image in the set */
  first: number;
}

/** Opens the image set of some parquet files. @throws DataError as `openImages` does */
export async function* parquetImages(
  { config, split, files }: SplitFiles,
  options: OpenImagesOptions & { readme: string | undefined },
): AsyncGenerator<ImagesEvent, ImageSet> {
  const { dataset, readme, limit = Infinity, classes: wanted, classOrder: order } = options;
  const parts: Part[] = [];
  const raw: RawLabel[] = [];
  let declared: readonly string[] | undefined;
  for (const [i, name] of files.entries()) {
    if (raw.length >= limit) break;
    const file = await openParquet(join(dataset, name));
    try {
      const columns = imageColumns(file, options);
      const { label: column } = columns;
      if (i === 0 && column !== undefined) {
        const inReadme = readme && namesInReadme(readme, { file: join(dataset, "README.md"), config, column });
        declared = inReadme || namesInParquet(file.metadata.key_value_metadata, column);
      }
      const bytes = parts.reduce((sum, { offsets }) => sum + (offsets.at(-1) as number), 0);
      const progress = { files: files.length, before: i, images: raw.length, bytes };
      const taken = yield* takeOut(file, columns, { ...options, progress });
      const part = { name, ...taken, first: raw.length };
      for await (const label of labelsIn(file, column, taken.offsets.length - 1)) raw.push(label);
      if (part.offsets.length - 1 !== raw.length - part.first)
        throw new DataError(
          file.path,
          `is damaged: ${part.offsets.length - 1} images, ${raw.length - part.first} labels`,
        );
      parts.push(part);
    } finally {
      await file.close();
    }
  }
  // All names that were read determine the labels, also those beyond the limit.
  const names = raw.filter((label) => typeof label === "string");
  if (raw.length > limit) raw.length = limit;
  if (raw.length === 0) throw new DataError(dataset, `has no images in split ${JSON.stringify(split)}: it has no rows`);
  const partOf = partFinder(parts, raw.length);
  const nameOf = (i: number) => {
    const part = partOf(i);
    return `${join(dataset, part.name)}, row ${i - part.first}`;
  };
  const place = (i: number): ImagePlace => {
    const { file, offsets, first } = partOf(i);
    const [start, end] = [offsets[i - first] as number, offsets[i - first + 1] as number];
    return { file, start, length: end - start };
  };
  const { labels, ...numbered } = labelsOf(raw, { declared, wanted, names, order, dataset, nameOf });
  return {
    dataset,
    config,
    split,
    length: labels.length,
    ...numbered,
    label: (i) => labels[checked(i, labels.length)] as number,
    place,
    nameOf,
  };
}

/** Yields the label of each row; without a column, 0 for each image. */
async function* labelsIn(file: ParquetFile, column: string | undefined, images: number): AsyncGenerator<RawLabel> {
  if (column === undefined) {
    for (let i = 0; i < images; i++) yield 0;
    return;
  }
  for await (const { rowStart, values } of file.groups([column])) {
    yield* rawLabels(values[0] ?? [], { path: file.path, column, rowStart });
  }
}

/** Returns the function that finds the part of image i. */
function partFinder(parts: readonly Part[], length: number): (i: number) => Part {
  return (i) => {
    checked(i, length);
    let [low, high] = [0, parts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((parts[middle] as Part).first <= i) low = middle;
      else high = middle - 1;
    }
    return parts[low] as Part;
  };
}

function checked(i: number, length: number): number {
  if (Number.isInteger(i) && i >= 0 && i < length) return i;
  throw new RangeError(`image ${i}: there are ${length}`);
}

interface TakeOutOptions extends OpenImagesOptions {
  /** number of parquet files, and files, images and bytes before this one */
  progress: { files: number; before: number; images: number; bytes: number };
}

/** Extracts the images of a parquet file into an image file, unless the cache has it already. */
async function* takeOut(
  file: ParquetFile,
  { image }: ImageColumns,
  { cache, signal, progress }: TakeOutOptions,
): AsyncGenerator<ImagesEvent, Pick<Part, "file" | "offsets">> {
  const identity = JSON.stringify({ format: IMAGE_FILE_FORMAT, column: image, ...(await quickIdentity(file.path)) });
  const path = join(cache, `${createHash("sha256").update(identity).digest("hex").slice(0, 32)}.images`);
  const found = await readImageOffsets(path);
  if (found && found.length - 1 === file.rows) return { file: path, offsets: found };
  const written = await writeImageFile(path);
  try {
    let [rows, bytes] = [0, 0];
    for await (const {
      values: [values = []],
    } of file.groups([image], { utf8: false })) {
      signal?.throwIfAborted();
      const images = imageBytes(values);
      await written.append(images);
      rows += images.length;
      bytes += images.reduce((sum, { length }) => sum + length, 0);
      const fraction = (progress.before + rows / Math.max(1, file.rows)) / progress.files;
      yield { kind: "extracting", fraction, images: progress.images + rows, bytes: progress.bytes + bytes };
    }
    return { file: path, offsets: await written.commit() };
  } finally {
    await written.discard();
  }
}

/** Bytes at the end of a file that are hashed to identify it. */
const TAIL_BYTES = 65_536;

/**
 * Identifies the content of a file without reading all of it: by its blob's name if it is a link to one, else by its
 * size, time of modification and last bytes.
 */
async function quickIdentity(path: string): Promise<Record<string, unknown>> {
  const blob = await readlink(path).catch(() => undefined);
  if (blob !== undefined && basename(dirname(blob)) === "blobs") return { blob: basename(blob) };
  const { size, mtimeMs } = await stat(path);
  const source = await openFile(path, (problem, options) => new DataError(path, problem, options));
  try {
    // The end of a parquet file contains sizes, offsets and often checksums of all pages.
    const tail = createHash("sha256");
    for await (const chunk of chunksOf(source, { start: Math.max(0, size - TAIL_BYTES), end: size }))
      tail.update(chunk);
    return { size, mtimeMs, tail: tail.digest("hex") };
  } finally {
    await source.close();
  }
}
