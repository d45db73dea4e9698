// A split of an image data set, in whichever way its images are kept. The one door to image sets.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { formatOf } from "../../dataset/conventions.ts";
import { pathsIn, splitFilesOf } from "../../dataset/folder.ts";
import { DataError, listed } from "../../errors.ts";
import type { ImagesEvent, OpenImagesOptions } from "../types.ts";
import { folderImages, foldersOf } from "./image-folders.ts";
import { parquetImages } from "./parquet-images.ts";

/**
 * The last event holds the images; stop before and nothing is left behind but whole files in the cache.
 * @throws DataError in one line, with what there is, for a data set, configuration, split, column or label that is not
 *   there or damaged, for a set without images, and for a cache that cannot be written; the signal's reason when it aborts
 */
export async function* openImages(options: OpenImagesOptions): AsyncGenerator<ImagesEvent> {
  const { dataset, config, split, unlabeled } = options;
  const formats = (await pathsIn(dataset)).map(formatOf);
  // A picture beside the tables of a data set is its ornament.
  const isLoose = unlabeled === true && !formats.includes("parquet");
  const folders = await foldersOf(dataset, { config, split, unlabeled: isLoose });
  if (folders) {
    yield {
      kind: "data",
      config: folders.config,
      split: folders.split,
      files: folders.classes.map(({ path }) => path),
    };
    yield { kind: "images", images: folderImages(dataset, folders, options) };
    return;
  }
  if (formats.every((format) => format === undefined)) {
    const folder = unlabeled
      ? `a folder of images, such as ${split}/1.jpg`
      : `a folder a split with a folder a class, such as ${split}/cat/1.jpg`;
    const wanted = `neither parquet files nor ${folder}`;
    throw new DataError(dataset, `has no images in split ${JSON.stringify(split)}: ${wanted}`);
  }
  const chosen = await splitFilesOf(dataset, { config, split });
  const others = chosen.files.filter((file) => formatOf(file) !== "parquet");
  if (others.length > 0)
    throw new DataError(dataset, `split ${JSON.stringify(split)} is text, no images: ${listed(others)}`);
  yield { kind: "data", ...chosen };
  const readme = await readFile(join(dataset, "README.md"), "utf8").catch(() => undefined);
  yield { kind: "images", images: yield* parquetImages(chosen, { ...options, readme }) };
}
