// Opens a split of an image data set, whether it consists of folders of images or of parquet files.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { formatOf } from "../../dataset/conventions.ts";
import { pathsIn, splitFilesOf } from "../../dataset/folder.ts";
import { DataError, listed } from "../../errors.ts";
import type { ImagesEvent, OpenImagesOptions } from "../types.ts";
import { folderImages, foldersOf } from "./image-folders.ts";
import { parquetImages } from "./parquet-images.ts";

/**
 * Opens a split. The last event holds the images. If iteration stops earlier, only complete files are left in the
 * cache.
 * @throws DataError if the data set, configuration, split, column or a label is missing or damaged, there are no
 *   images, or the cache cannot be written; the signal's reason if it aborts
 */
export async function* openImages(options: OpenImagesOptions): AsyncGenerator<ImagesEvent> {
  const { dataset, config, split, unlabeled } = options;
  const formats = (await pathsIn(dataset)).map(formatOf);
  // Images beside parquet files belong to the README, not to the data.
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
      : `a folder per split with a folder per class, such as ${split}/cat/1.jpg`;
    const wanted = `expected parquet files or ${folder}`;
    throw new DataError(dataset, `has no images in split ${JSON.stringify(split)}; ${wanted}`);
  }
  const chosen = await splitFilesOf(dataset, { config, split });
  const others = chosen.files.filter((file) => formatOf(file) !== "parquet");
  if (others.length > 0)
    throw new DataError(dataset, `split ${JSON.stringify(split)} contains text, not images: ${listed(others)}`);
  yield { kind: "data", ...chosen };
  const readme = await readFile(join(dataset, "README.md"), "utf8").catch(() => undefined);
  yield { kind: "images", images: yield* parquetImages(chosen, { ...options, readme }) };
}
