// Image sets as they come: parquet of every form that the Hub has, folders, and what is refused in one line.

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { heldOut, numberedAs, openImages } from "../../../workbench/data/images/index.ts";
import { subsetOf } from "../../../workbench/data/images/sets/image-set.ts";
import type { ImageSet, OpenImagesOptions } from "../../../workbench/data/images/types.ts";
import { type ParquetImage, parquetFile } from "../write-parquet.ts";
import { bytesOf, CIFAR, IMAGES_ARE_HERE, openImagesNow, plainImage, write } from "./image-sets.ts";

const root = mkdtempSync(join(tmpdir(), "gblr-images-"));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;
const folder = (files: Record<string, string | Uint8Array>) => write(join(root, `${made++}`), files);
const cache = join(root, "cache");

const picture = (text: string): ParquetImage => ({ bytes: new TextEncoder().encode(text), path: `${text}.jpg` });
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

async function refusal(options: Partial<OpenImagesOptions> & { dataset: string }): Promise<string> {
  const message = await openImagesNow({ split: "train", cache, ...options }).then(
    () => "",
    (error: Error) => `${error.name}: ${error.message}`,
  );
  expect(message).toMatch(/^DataError: /);
  expect(message).not.toContain("\n");
  return message;
}

const README = `---
dataset_info:
- config_name: default
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': cat
          '1': dog
          '10': eel
          '2': bat
---
`;

describe("parquet files", () => {
  test("give images by number, over files and row groups, with the classes of the README in their order", async () => {
    const dataset = folder({
      "README.md": README,
      "data/train-00000-of-00002.parquet": parquetFile([
        { image: [picture("a"), picture("bb")], label: [0n, 2n] },
        { image: [picture("ccc")], label: [1n] },
      ]),
      "data/train-00001-of-00002.parquet": parquetFile([{ image: [picture("dddd")], label: [3n] }], "zstd"),
    });
    const images = await openImagesNow({ dataset, split: "train", cache });
    expect(images.classes).toEqual(["cat", "dog", "bat", "eel"]);
    expect(images.declared).toBe(true);
    const all = await Promise.all([3, 1, 0, 2].map(async (i) => [text(await bytesOf(images, i)), images.label(i)]));
    expect(all).toEqual([
      ["dddd", 3],
      ["bb", 2],
      ["a", 0],
      ["ccc", 1],
    ]);
    expect(images.nameOf(3)).toBe(join(dataset, "data/train-00001-of-00002.parquet, row 0"));
    expect(() => images.label(4)).toThrow("image 4: there are 4");
    await expect(bytesOf(images, -1)).rejects.toThrow("image -1: there are 4");
  });

  test("may be `img` and `fine_label`, bare bytes, names for labels, or tell their classes in their metadata", async () => {
    const stored = JSON.stringify({ info: { features: { fine_label: { names: ["x", "y"], _type: "ClassLabel" } } } });
    const named = folder({
      "train.parquet": parquetFile([{ coarse: [7n], fine_label: [1n], img: [picture("a")] }], {
        entries: { huggingface: stored },
      }),
      "test.parquet": parquetFile([
        { picture: [new TextEncoder().encode("b"), new TextEncoder().encode("c")], labels: ["yak", "ape"] },
      ]),
    });
    const fine = await openImagesNow({ dataset: named, split: "train", cache });
    expect([fine.classes, fine.label(0), text(await bytesOf(fine, 0))]).toEqual([["x", "y"], 1, "a"]);
    const bare = await openImagesNow({ dataset: named, split: "test", cache });
    expect([bare.classes, bare.label(0), text(await bytesOf(bare, 0))]).toEqual([["ape", "yak"], 1, "b"]);
    const classes = ["yak", "emu", "ape"];
    const given = await openImagesNow({ dataset: named, split: "test", cache, classes });
    expect([given.label(0), given.label(1)]).toEqual([0, 2]);
    const some = await openImagesNow({ dataset: named, split: "test", cache, limit: 1 });
    expect([some.length, some.classes, some.label(0)]).toEqual([1, ["ape", "yak"], 1]);
    const coarse = await openImagesNow({ dataset: named, split: "train", cache, labelColumn: "coarse" });
    expect([coarse.classes.length, coarse.declared, coarse.label(0)]).toEqual([8, false, 7]);
  });

  test("are taken apart once, only as far as needed, and again when the copy is cut off or the file another", async () => {
    const own = join(root, "own-cache");
    const shard = (label: string) => parquetFile([{ image: [picture(label), picture(`${label}!`)], label: [0n, 0n] }]);
    const dataset = folder({ "train-00000-of-00002.parquet": shard("a"), "train-00001-of-00002.parquet": shard("b") });
    const open = async (limit?: number) => {
      const kinds: string[] = [];
      for await (const event of openImages({ dataset, split: "train", cache: own, limit })) {
        kinds.push(event.kind);
        if (event.kind === "images") return { kinds, images: event.images };
      }
      throw new Error("no images");
    };
    const one = await open(1);
    expect([one.images.length, readdirSync(own).length]).toEqual([1, 1]);
    expect((await open()).kinds).toEqual(["data", "extracting", "images"]);
    const again = await open();
    expect(again.kinds).toEqual(["data", "images"]);
    expect(text(await bytesOf(again.images, 3))).toBe("b!");
    for (const file of readdirSync(own)) truncateSync(join(own, file), 20);
    expect((await open()).kinds).toEqual(["data", "extracting", "extracting", "images"]);
    writeFileSync(join(dataset, "train-00001-of-00002.parquet"), shard("c"));
    expect(text(await bytesOf((await open()).images, 3))).toBe("c!");
  });

  test("leave nothing half-written when the reading is stopped", async () => {
    const own = join(root, "stopped-cache");
    const group = { image: [picture("a")], label: [0n] };
    const dataset = folder({ "train.parquet": parquetFile([group, group, group]) });
    for await (const event of openImages({ dataset, split: "train", cache: own }))
      if (event.kind === "extracting") break;
    expect(readdirSync(own)).toEqual([]);
  });

  test("are refused in one line, with what there is", async () => {
    const rows = (label: bigint[] | string[]) =>
      folder({ "train.parquet": parquetFile([{ image: label.map(() => picture("a")), label }]), "README.md": README });
    const plain = rows([0n]);
    expect(await refusal({ dataset: plain, split: "val" })).toContain(
      'no split "val" in configuration "default"; available: train',
    );
    expect(await refusal({ dataset: plain, imageColumn: "img" })).toContain(
      'has no column "img"; available: image, label',
    );
    expect(await refusal({ dataset: plain, imageColumn: "label" })).toContain('column "label" does not contain images');
    expect(await refusal({ dataset: rows([0n, 4n]) })).toContain(
      "train.parquet, row 1: has label 4, which is none of the 4 classes: cat, dog, bat, eel",
    );
    expect(await refusal({ dataset: rows([-1n]) })).toContain("row 0: has label -1, so this split has no labels");
    expect(await refusal({ dataset: rows(["cat", "cow"]) })).toContain(
      'row 1: has label "cow", which is none of the 4 classes',
    );
    const labelless = folder({ "train.parquet": parquetFile([{ image: [picture("a")], class: [1n] }]) });
    expect(await refusal({ dataset: labelless })).toContain(
      "no column of labels (label, labels, fine_label); choose one of image, class with --label-column",
    );
    expect(await refusal({ dataset: labelless, labelColumn: "image" })).toContain("contains an object, not a label");
    const words = folder({ "train.parquet": parquetFile([{ text: ["a"] }]) });
    expect(await refusal({ dataset: words })).toContain("has no column of images, {bytes, path}; available: text");
    expect(await refusal({ dataset: folder({ "train.txt": "a" }) })).toContain(
      'split "train" contains text, not images: train.txt',
    );
    const damaged = folder({ "train.parquet": parquetFile([{ image: [picture("a")], label: [0n] }]).slice(0, 60) });
    expect(await refusal({ dataset: damaged })).toContain("is not a parquet file, or is damaged");
    expect(await refusal({ dataset: join(root, "nowhere") })).toContain("no such folder");
    expect(await refusal({ dataset: folder({ "notes.md": "a" }) })).toContain(
      'has no images in split "train"; expected parquet files or',
    );
    const unwritable = join(folder({ file: "" }), "file");
    expect(await refusal({ dataset: rows([0n]), cache: unwritable })).toContain("cannot be written");
  });

  test.skipIf(!IMAGES_ARE_HERE)("of CIFAR-10 give its images in their order", async () => {
    const images = await openImagesNow({ dataset: CIFAR, split: "test", cache });
    expect([images.length, images.classes.length, images.config]).toEqual([2000, 10, "plain_text"]);
    const counts = new Uint32Array(10);
    for (let i = 0; i < images.length; i++) (counts[images.label(i)] as number)++;
    expect([...counts]).toEqual(Array(10).fill(200));
    expect([...(await bytesOf(images, 1999)).subarray(0, 2)]).toEqual([0xff, 0xd8]);
  });
});

describe("folders", () => {
  const tree = async () => ({
    "train/n02/x.JPEG": await plainImage(1, { format: "jpeg" }),
    "train/n01/b.png": await plainImage(2),
    "train/n01/a.png": await plainImage(3),
    "train/n01/.hidden.png": "",
    "train/n01/notes.txt": "no image",
    "val/n01/z.png": await plainImage(4),
    "val/n02/": "",
  });

  test("of splits and classes are sets in the order of their names", async () => {
    const { "val/n02/": _, ...files } = await tree();
    const dataset = folder(files);
    const images = await openImagesNow({ dataset, split: "train", cache });
    expect([images.length, images.classes, images.declared]).toEqual([3, ["n01", "n02"], true]);
    expect([0, 1, 2].map((i) => [images.label(i), images.nameOf(i).slice(dataset.length + 1)])).toEqual([
      [0, "train/n01/a.png"],
      [0, "train/n01/b.png"],
      [1, "train/n02/x.JPEG"],
    ]);
    expect(await bytesOf(images, 1)).toEqual(Uint8Array.from(readFileSync(join(dataset, "train/n01/b.png"))));
    const { classes } = images;
    const validation = await openImagesNow({ dataset, split: "validation", cache, classes });
    expect([validation.length, validation.split, validation.label(0), validation.classes]).toEqual([
      1,
      "validation",
      0,
      classes,
    ]);
    expect(await refusal({ dataset, split: "test" })).toContain('no split "test"; available: train, val');
    expect(await refusal({ dataset, split: "val", classes: ["n02"] })).toContain(
      'label "n01", which is none of the 1 classes',
    );
  });

  test("give some of all classes where only some images are asked for", async () => {
    const files = ["a", "b"].flatMap((name) => [1, 2, 3, 4].map((i) => [`train/${name}/${i}.png`, `${name}${i}`]));
    const options = { dataset: folder(Object.fromEntries(files)), split: "train", cache };
    const seen = async (limit: number) => {
      const images = await openImagesNow({ ...options, limit });
      return Promise.all([...Array(images.length).keys()].map(async (i) => text(await bytesOf(images, i))));
    };
    expect([await seen(2), await seen(4)]).toEqual([
      ["a1", "b1"],
      ["a1", "a3", "b1", "b3"],
    ]);
    expect(await seen(3)).toEqual(["a1", "a3", "b2"]);
    expect((await seen(9)).length).toBe(8);
    expect((await openImagesNow({ ...options, limit: 2 })).label(1)).toBe(1);
  });

  test("of classes alone are for training; without images they are none", async () => {
    const dataset = folder({ "cat/a.png": await plainImage(1), "dog/b.png": await plainImage(2) });
    const images = await openImagesNow({ dataset, split: "train", cache });
    expect([images.length, images.classes]).toEqual([2, ["cat", "dog"]]);
    expect(await refusal({ dataset: folder({ "train/cat/notes.txt": "" }) })).not.toBe("");
    expect(await refusal({ dataset: folder({ "train/cat/notes.md": "" }) })).toContain("has no images");
  });
});

test("where classes are not looked at, neither a column nor a folder of them is needed", async () => {
  const one = { split: "train", cache, unlabeled: true };
  const bytes = async (images: ImageSet) =>
    Promise.all(Array.from({ length: images.length }, async (_, i) => text(await bytesOf(images, i))));
  const table = folder({
    "train.parquet": parquetFile([{ image: [picture("a"), picture("bb")] }, { image: [picture("c")] }]),
    "logo.png": "an ornament",
  });
  expect(await bytes(await openImagesNow({ dataset: table, ...one }))).toEqual(["a", "bb", "c"]);
  expect(await refusal({ dataset: table })).toContain("has no column of labels");
  const unknown = folder({ "test.parquet": parquetFile([{ image: [picture("a")], label: [-1n] }]) });
  expect((await openImagesNow({ dataset: unknown, ...one, split: "test" })).length).toBe(1);
  const flat = folder({ "2.jpg": "two", "1.png": "one", "notes.txt": "none" });
  expect(await bytes(await openImagesNow({ dataset: flat, ...one }))).toEqual(["one", "two"]);
  const mixed = folder({ "train/cat/1.jpg": "cat", "train/stray.jpg": "stray" });
  expect(await bytes(await openImagesNow({ dataset: mixed, ...one }))).toEqual(["cat", "stray"]);
  expect(await bytes(await openImagesNow({ dataset: mixed, split: "train", cache }))).toEqual(["cat"]);
  expect(await refusal({ dataset: folder({ "notes.md": "none" }), unlabeled: true })).toContain("such as train/1.jpg");
});

test("classes take a model's numbers where all of them are its, and their own where any is not", async () => {
  const pictures = Object.fromEntries(["cat", "dog"].map((name) => [`val/${name}/1.png`, "1"]));
  const images = await openImagesNow({ dataset: folder(pictures), split: "val", cache });
  const labeled = ({ label }: ImageSet) => [label(0), label(1)];
  const model = ["dog", "emu", "cat"];
  const numbered = numberedAs(images, model);
  expect([numbered.classes, labeled(numbered)]).toEqual([model, [2, 0]]);
  expect([numbered.nameOf(1), text(await bytesOf(numbered, 1))]).toEqual([images.nameOf(1), "1"]);
  for (const names of [undefined, ["cat", "dog"], ["dog", "emu", "yak"], ["dog", "cat", "emu", "emu"]])
    expect(numberedAs(images, names)).toBe(images);
});

test("a share held out and the rest are the whole, by the seed alone", async () => {
  const dataset = folder(
    Object.fromEntries(
      await Promise.all([...Array(20).keys()].map(async (i) => [`c/${100 + i}.png`, await plainImage(i)])),
    ),
  );
  const images = await openImagesNow({ dataset, split: "train", cache });
  const namesOf = (seed: number) => {
    const { train, validation } = heldOut(images, { share: 0.25, seed });
    return [train, validation].map((set) => Array.from({ length: set.length }, (_, i) => set.nameOf(i)));
  };
  const [train = [], validation = []] = namesOf(1);
  expect([train.length, validation.length]).toEqual([15, 5]);
  expect([...train, ...validation].sort()).toEqual([...Array(20).keys()].map((i) => images.nameOf(i)));
  expect(namesOf(1)).toEqual([train, validation]);
  expect(namesOf(2)).not.toEqual([train, validation]);
  expect(() => subsetOf(images, [4]).label(1)).toThrow("image 1: there are 1");
});
