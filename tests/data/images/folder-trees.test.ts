// Folders of images as people have them: of links, deeper than a class's own folder, and in circles.

import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ImageSet, OpenImagesOptions } from "../../../workbench/data/images/types.ts";
import { parquetFile } from "../write-parquet.ts";
import { bytesOf, openImagesNow, write } from "./image-sets.ts";

const root = mkdtempSync(join(tmpdir(), "gblr-trees-"));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;
const folder = (files: Record<string, string | Uint8Array>) => write(join(root, `${made++}`), files);

const open = (dataset: string, options: Partial<OpenImagesOptions> = {}) =>
  openImagesNow({ dataset, split: "train", cache: join(root, "cache"), ...options });

/** `class label path` of each image, below the data set. */
const shown = (images: ImageSet): string[] =>
  Array.from({ length: images.length }, (_, i) => {
    const label = images.label(i);
    return `${images.classes[label]} ${label} ${images.nameOf(i).slice(images.dataset.length + 1)}`;
  });

test("links to folders of classes and of splits are followed", async () => {
  const elsewhere = folder({ "a/1.png": "a", "all/b/2.png": "b", "all/c/3.png": "c", "val/b/4.png": "v" });
  const classes = folder({ "train/b/2.png": "b" });
  symlinkSync(join(elsewhere, "a"), join(classes, "train/a"));
  expect(shown(await open(classes))).toEqual(["a 0 train/a/1.png", "b 1 train/b/2.png"]);
  const splits = folder({});
  mkdirSync(splits, { recursive: true });
  symlinkSync(join(elsewhere, "all"), join(splits, "train"));
  symlinkSync(join(elsewhere, "val"), join(splits, "val"));
  expect(shown(await open(splits))).toEqual(["b 0 train/b/2.png", "c 1 train/c/3.png"]);
  expect(shown(await open(splits, { split: "validation" }))).toEqual(["b 0 val/b/4.png"]);
  const whole = join(root, "whole");
  symlinkSync(splits, whole);
  expect(shown(await open(whole))).toEqual(["b 0 train/b/2.png", "c 1 train/c/3.png"]);
});

test("links to folders of tables are followed", async () => {
  const table = parquetFile([{ image: [{ bytes: new Uint8Array(1), path: "1.png" }], label: [3n] }]);
  const elsewhere = folder({ "train-00000-of-00001.parquet": table });
  const dataset = folder({ "README.md": "words" });
  symlinkSync(elsewhere, join(dataset, "data"));
  expect((await open(dataset)).label(0)).toBe(3);
});

test("links in circles end, and links to nowhere are nothing", async () => {
  const dataset = folder({ "train/a/1.png": "a", "train/b/deep/2.png": "b", "train/b/3.png": "b" });
  symlinkSync(join(dataset, "train/a"), join(dataset, "train/a/self"));
  symlinkSync(dataset, join(dataset, "train/b/deep/top"));
  symlinkSync(root, join(dataset, "train/b/above"));
  symlinkSync(join(dataset, "train/a"), join(dataset, "train/b/other"));
  symlinkSync(join(root, "nowhere"), join(dataset, "train/b/gone"));
  symlinkSync(join(root, "nowhere.png"), join(dataset, "train/b/gone.png"));
  // What is elsewhere belongs to the class that links to it.
  expect(shown(await open(dataset))).toEqual([
    "a 0 train/a/1.png",
    "b 1 train/b/3.png",
    "b 1 train/b/deep/2.png",
    "b 1 train/b/other/1.png",
  ]);
  const ring = folder({ "train/a/x/1.png": "x", "train/b/y/2.png": "y" });
  symlinkSync(join(ring, "train/b/y"), join(ring, "train/a/x/to-y"));
  symlinkSync(join(ring, "train/a/x"), join(ring, "train/b/y/to-x"));
  expect(shown(await open(ring))).toEqual([
    "a 0 train/a/x/1.png",
    "a 0 train/a/x/to-y/2.png",
    "b 1 train/b/y/2.png",
    "b 1 train/b/y/to-x/1.png",
  ]);
});

test("a link back among the folders of classes is no class", async () => {
  const dataset = folder({ "train/a/1.png": "a", "train/b/2.png": "b" });
  symlinkSync(".", join(dataset, "train/loop"));
  symlinkSync(dataset, join(dataset, "train/above"));
  expect(shown(await open(dataset))).toEqual(["a 0 train/a/1.png", "b 1 train/b/2.png"]);
  const plain = folder({ "a/1.png": "a", "b/2.png": "b" });
  for (const split of ["train", "val"]) symlinkSync(".", join(plain, split));
  expect(shown(await open(plain, { split: "validation" }))).toEqual(["a 0 val/a/1.png", "b 1 val/b/2.png"]);
});

test("all images below a class's folder are of that class, with splits and without", async () => {
  const files = {
    "n01/images/1.png": "1",
    "n01/images/more/2.png": "2",
    "n01/n01_boxes.txt": "boxes",
    "n02/3.png": "3",
    "n02/images/4.png": "4",
    "n02/.cache/5.png": "5",
  };
  const below = (prefix: string) =>
    Object.fromEntries(Object.entries(files).map(([name, content]) => [`${prefix}${name}`, content]));
  const expected = (prefix: string) =>
    ["n01 0 P/n01/images/1.png", "n01 0 P/n01/images/more/2.png", "n02 1 P/n02/3.png", "n02 1 P/n02/images/4.png"].map(
      (line) => line.replace("P/", prefix),
    );
  for (const prefix of ["train/", "data/train/", "data/", ""])
    expect(shown(await open(folder(below(prefix))))).toEqual(expected(prefix));
  // A folder of splits without images beside them changes nothing.
  expect(shown(await open(folder({ ...below("data/"), "test/notes.md": "words" })))).toEqual(expected("data/"));
  const images = await open(folder(below("train/")));
  expect(new TextDecoder().decode(await bytesOf(images, 1))).toBe("2");
});

test("where classes are not looked at, each image counts once, at any depth", async () => {
  const dataset = folder({ "train/1.png": "1", "train/a/2.png": "2", "train/a/b/c/3.png": "3" });
  const images = await open(dataset, { unlabeled: true });
  expect(images.length).toBe(3);
});

test("folders of splits in a folder that is none of the usual are no classes", async () => {
  const dataset = folder({ "images/train/cat/1.png": "1", "images/val/cat/2.png": "2" });
  await expect(open(dataset)).rejects.toThrow("has no images in split");
});
