// Image sets of plain files in the layout of torchvision's ImageFolder. There is a folder for each split. It contains a
// folder for each class, which contains the images at any depth. Without folders of splits, all images are `train`.
// Symbolic links are followed. classes.ts assigns the labels.

import { join } from "node:path";
import { conventionalSplit, isSplitName } from "../../dataset/conventions.ts";
import { entriesOf, leadsBack, walk } from "../../dataset/folder.ts";
import { DataError, listed, MissingSplitError } from "../../errors.ts";
import type { ImagePlace, ImageSet, OpenImagesOptions } from "../types.ts";
import { labelsOf, sortedNames } from "./classes.ts";

const IMAGE = /^[^.].*\.(jpe?g|png|webp|gif|tiff?|avif|bmp)$/i;

interface ClassFolder {
  /** name of the class */
  name: string;
  /** path relative to the data set's folder */
  path: string;
  /** sorted paths of its images, relative to it */
  images: string[];
}

interface SplitFolders {
  config: string;
  split: string;
  classes: ClassFolder[];
}

interface FoldersOptions {
  config?: string | undefined;
  split: string;
  /** also find images that are in no class's folder. Default false */
  unlabeled?: boolean | undefined;
}

/**
 * Finds the folders of a split.
 * @returns undefined if the data set does not consist of folders of images
 * @throws DataError if it does, but has no such split
 */
export async function foldersOf(
  dataset: string,
  { config = "default", split, unlabeled = false }: FoldersOptions,
): Promise<SplitFolders | undefined> {
  const classesIn = unlabeled ? imagesIn : classFoldersIn;
  const chosen = { config, split: conventionalSplit(split) };
  const bases = config === "default" ? ["", "data/"] : [`${config}/`];
  const plain: string[] = [];
  for (const base of bases) {
    const splits = (await foldersIn(dataset, base)).filter(isSplitName);
    const found =
      splits.find((name) => name === split) ??
      splits.find((name) => conventionalSplit(name) === conventionalSplit(split));
    if (splits.length === 0) plain.push(base);
    if (found !== undefined) {
      const classes = await classesIn(dataset, `${base}${found}/`);
      if (classes.length > 0) return { ...chosen, classes };
    } else if (splits.length > 0 && (await classesIn(dataset, `${base}${splits[0]}/`)).length > 0) {
      throw new MissingSplitError(dataset, split, `; available: ${listed(splits)}`);
    }
  }
  const base = chosen.split === "train" ? await classesBase(dataset, plain) : undefined;
  const classes = base === undefined ? [] : await classesIn(dataset, base);
  return classes.length > 0 ? { ...chosen, classes } : undefined;
}

/**
 * Finds the folder that contains the classes, among the data set's folder and `data/`. A single folder `data/` is not a
 * class, and neither is a folder that contains splits.
 */
async function classesBase(dataset: string, [outer, inner]: readonly string[]): Promise<string | undefined> {
  if (outer === undefined) return undefined;
  const names = await foldersIn(dataset, outer);
  if (names.length === 1 && `${outer}${names[0]}/` === inner) return inner;
  for (const name of names) if ((await foldersIn(dataset, `${outer}${name}/`)).some(isSplitName)) return undefined;
  return outer;
}

/** Sorted names of the folders in a folder; empty if it does not exist. */
async function foldersIn(dataset: string, below: string): Promise<string[]> {
  return sortedNames((await entriesOf(join(dataset, below)).catch(() => NONE)).folders);
}

const NONE = { folders: [], files: [] };

/** The class folders, and one more entry for the images beside them, which have no class. */
async function imagesIn(dataset: string, below: string): Promise<ClassFolder[]> {
  const classes = await classFoldersIn(dataset, below);
  const path = below.replace(/\/$/, "");
  const { files } = await entriesOf(join(dataset, below)).catch(() => NONE);
  const beside = { name: path.split("/").at(-1) as string, path, images: files.filter(isImage) };
  return beside.images.length > 0 ? [...classes, beside] : classes;
}

/** The folders of classes in a folder; empty if none of them has images. */
async function classFoldersIn(dataset: string, below: string): Promise<ClassFolder[]> {
  const classes: ClassFolder[] = [];
  for (const name of await foldersIn(dataset, below)) {
    const path = `${below}${name}`;
    if (await leadsBack(join(dataset, path))) continue;
    // A class without images keeps its label.
    classes.push({ name, path, images: await imagesBelow(join(dataset, path)) });
  }
  return classes.some(({ images }) => images.length > 0) ? classes : [];
}

/** Paths of all images below a folder, relative to it. */
async function imagesBelow(folder: string): Promise<string[]> {
  const images: string[] = [];
  for await (const { below, files } of walk(folder)) {
    for (const name of files) if (isImage(name)) images.push(`${below}${name}`);
  }
  return images;
}

const isImage = (name: string): boolean => IMAGE.test(name);

/**
 * Opens the image set of folders of classes.
 * @throws DataError if there are no images
 */
export function folderImages(
  dataset: string,
  { config, split, classes: folders }: SplitFolders,
  { classes: wanted, classOrder: order, limit = Infinity }: Pick<OpenImagesOptions, "classes" | "classOrder" | "limit">,
): ImageSet {
  const starts = [0];
  for (const { images } of folders) starts.push((starts.at(-1) as number) + images.length);
  const whole = starts.at(-1) as number;
  const length = Math.min(limit, whole);
  // With a limit, images are evenly spaced; the first ones would all be of the first classes.
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
  };
}
