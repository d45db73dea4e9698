// Images as plain files: a folder a split, in it a folder a class, in it the images, as ImageNet is unpacked. Without
// folders of splits all is `train`. A class is numbered by its place among the names of all classes, in byte order.

import type { Dirent } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { conventionalSplit } from "../dataset/conventions.ts";
import { DataError, listed } from "../errors.ts";

const IMAGE = /^[^.].*\.(jpe?g|png|webp|gif|tiff?|avif|bmp)$/i;

export interface ClassFolder {
  /** name of the class */
  name: string;
  /** below the data set's folder, with `/` */
  path: string;
  /** names of its images, sorted */
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
  { config, split, unlabelled = false }: FoldersOptions,
): Promise<SplitFolders | undefined> {
  const classesIn = unlabelled ? imagesIn : classFoldersIn;
  const top = await foldersIn(dataset, "");
  for (const base of config === undefined || config === "default" ? ["", "data/"] : [`${config}/`]) {
    const names = base === "" ? top : await foldersIn(dataset, base);
    const splits = names.filter(
      (name) => conventionalSplit(name) !== name || ["train", "validation", "test"].includes(name),
    );
    const found =
      splits.find((name) => name === split) ??
      splits.find((name) => conventionalSplit(name) === conventionalSplit(split));
    const chosen = { config: config ?? "default", split: conventionalSplit(split) };
    if (found !== undefined) {
      const classes = await classesIn(dataset, `${base}${found}/`);
      if (classes.length > 0) return { ...chosen, classes };
    } else if (splits.length > 0 && (await classesIn(dataset, `${base}${splits[0]}/`)).length > 0) {
      throw new DataError(dataset, `has no split ${JSON.stringify(split)}; there is ${listed(splits)}`);
    } else if (splits.length === 0 && chosen.split === "train") {
      const classes = await classesIn(dataset, base);
      if (classes.length > 0) return { ...chosen, classes };
    }
  }
  return undefined;
}

async function foldersIn(dataset: string, below: string): Promise<string[]> {
  const entries = await entriesOf(join(dataset, below));
  return entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith(".")).map(({ name }) => name);
}

/** All images, those that lie in no class's folder too. */
async function imagesIn(dataset: string, below: string): Promise<ClassFolder[]> {
  const classes = await classFoldersIn(dataset, below);
  const path = below.replace(/\/$/, "");
  const beside = { name: path.split("/").at(-1) as string, path, images: await imageNames(join(dataset, below)) };
  return beside.images.length > 0 ? [...classes, beside] : classes;
}

async function classFoldersIn(dataset: string, below: string): Promise<ClassFolder[]> {
  const classes: ClassFolder[] = [];
  for (const name of (await foldersIn(dataset, below)).sort()) {
    const path = `${below}${name}`;
    // A class without images keeps its number.
    classes.push({ name, path, images: await imageNames(join(dataset, path)) });
  }
  return classes.some(({ images }) => images.length > 0) ? classes : [];
}

/** Sorted. */
async function imageNames(folder: string): Promise<string[]> {
  const entries = await entriesOf(folder);
  const images = entries.filter((entry) => !entry.isDirectory() && IMAGE.test(entry.name)).map((entry) => entry.name);
  return images.sort();
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  return readdir(folder, { withFileTypes: true }).catch((): Dirent[] => []);
}
