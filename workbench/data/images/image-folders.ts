// Images as plain files: a folder a split, in it a folder a class, in it the images, at any depth, as ImageNet is unpacked.
// Without folders of splits all is `train`. Links are followed. Which number a class has is class-order.ts's.

import { join } from "node:path";
import { conventionalSplit, isSplitName } from "../dataset/conventions.ts";
import { entriesOf, walk } from "../dataset/walk.ts";
import { DataError, listed } from "../errors.ts";
import { sortedNames } from "./class-order.ts";

const IMAGE = /^[^.].*\.(jpe?g|png|webp|gif|tiff?|avif|bmp)$/i;

export interface ClassFolder {
  /** name of the class */
  name: string;
  /** below the data set's folder, with `/` */
  path: string;
  /** paths of its images below it, folder by folder, sorted */
  images: string[];
}

export interface SplitFolders {
  config: string;
  split: string;
  classes: ClassFolder[];
}

interface FoldersOptions {
  config?: string | undefined;
  split: string;
  /** images beside the folders of classes, or without any, are found too. Default false */
  unlabelled?: boolean | undefined;
}

/** @returns nothing where the data set is not made of folders of images; @throws DataError on an unknown split of one that is */
export async function foldersOf(
  dataset: string,
  { config = "default", split, unlabelled = false }: FoldersOptions,
): Promise<SplitFolders | undefined> {
  const classesIn = unlabelled ? imagesIn : classFoldersIn;
  const chosen = { config, split: conventionalSplit(split) };
  const bases = config === "default" ? ["", "data/"] : [`${config}/`];
  let hasSplits = false;
  for (const base of bases) {
    const splits = (await foldersIn(dataset, base)).filter(isSplitName);
    const found =
      splits.find((name) => name === split) ??
      splits.find((name) => conventionalSplit(name) === conventionalSplit(split));
    hasSplits ||= splits.length > 0;
    if (found !== undefined) {
      const classes = await classesIn(dataset, `${base}${found}/`);
      if (classes.length > 0) return { ...chosen, classes };
    } else if (splits.length > 0 && (await classesIn(dataset, `${base}${splits[0]}/`)).length > 0) {
      throw new DataError(dataset, `has no split ${JSON.stringify(split)}; there is ${listed(splits)}`);
    }
  }
  if (hasSplits || chosen.split !== "train") return undefined;
  const base = await classesBase(dataset, bases);
  const classes = base === undefined ? [] : await classesIn(dataset, base);
  return classes.length > 0 ? { ...chosen, classes } : undefined;
}

/** Where the folders of classes are, if there are none of splits: a lone folder `data` is no class, nor is one of splits. */
async function classesBase(dataset: string, bases: readonly string[]): Promise<string | undefined> {
  const top = await foldersIn(dataset, bases[0] as string);
  if (bases.includes("data/") && top.length === 1 && top[0] === "data") return "data/";
  for (const name of top) if ((await foldersIn(dataset, `${bases[0]}${name}/`)).some(isSplitName)) return undefined;
  return bases[0];
}

/** In the order of text; none where there is no such folder. */
async function foldersIn(dataset: string, below: string): Promise<string[]> {
  return sortedNames((await entriesOf(join(dataset, below)).catch(() => NONE)).folders);
}

const NONE = { folders: [], files: [] };

/** All images, those that lie in no class's folder too. */
async function imagesIn(dataset: string, below: string): Promise<ClassFolder[]> {
  const classes = await classFoldersIn(dataset, below);
  const path = below.replace(/\/$/, "");
  const { files } = await entriesOf(join(dataset, below)).catch(() => NONE);
  const beside = { name: path.split("/").at(-1) as string, path, images: files.filter(isImage) };
  return beside.images.length > 0 ? [...classes, beside] : classes;
}

async function classFoldersIn(dataset: string, below: string): Promise<ClassFolder[]> {
  const classes: ClassFolder[] = [];
  for (const name of await foldersIn(dataset, below)) {
    const path = `${below}${name}`;
    // A class without images keeps its number.
    classes.push({ name, path, images: await imagesBelow(join(dataset, path)) });
  }
  return classes.some(({ images }) => images.length > 0) ? classes : [];
}

async function imagesBelow(folder: string): Promise<string[]> {
  const images: string[] = [];
  for await (const { below, files } of walk(folder)) {
    for (const name of files) if (isImage(name)) images.push(`${below}${name}`);
  }
  return images;
}

const isImage = (name: string): boolean => IMAGE.test(name);
