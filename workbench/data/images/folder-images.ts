// An image set over plain files.

import { join } from "node:path";
import { DataError } from "../errors.ts";
import type { SplitFolders } from "./image-folders.ts";
import { labelsOf } from "./labels.ts";
import { readPlace } from "./places.ts";
import type { ImagePlace, ImageSet, OpenImagesOptions } from "./types.ts";

export function folderImages(
  dataset: string,
  { config, split, classes: folders }: SplitFolders,
  { classes: wanted, classOrder: order, limit = Infinity }: Pick<OpenImagesOptions, "classes" | "classOrder" | "limit">,
): ImageSet {
  const starts = [0];
  for (const { images } of folders) starts.push((starts.at(-1) as number) + images.length);
  const whole = starts.at(-1) as number;
  const length = Math.min(limit, whole);
  // The first ones would all be of the first classes.
  const check = (i: number) => {
    if (Number.isInteger(i) && i >= 0 && i < length) return Math.floor((i * whole) / length);
    throw new RangeError(`image ${i}: there are ${length}`);
  };
  const names = folders.map(({ name }) => name);
  const { labels, ...numbered } = labelsOf(names, {
    declared: undefined,
    wanted,
    order,
    dataset,
    nameOf: (i) => join(dataset, folders[i]?.path ?? ""),
  });
  const folderOf = (i: number): number => {
    let [low, high] = [0, folders.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] as number) <= i) low = middle;
      else high = middle - 1;
    }
    return low;
  };
  const nameOf = (i: number): string => {
    const file = check(i);
    const at = folderOf(file);
    const folder = folders[at] as SplitFolders["classes"][number];
    return join(dataset, folder.path, folder.images[file - (starts[at] as number)] as string);
  };
  const place = (i: number): ImagePlace => ({ file: nameOf(i), start: 0 });
  if (length === 0) throw new DataError(dataset, "has no images");
  return {
    dataset,
    config,
    split,
    length,
    ...numbered,
    label: (i) => labels[folderOf(check(i))] as number,
    place,
    nameOf,
    bytes: async (i) => readPlace(place(i)),
    close: async () => {},
  };
}
