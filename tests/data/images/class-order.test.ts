// Which number a class has that is given by its name: the model's labels, else the name itself, else the order of text.

import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { classOrderNotice, numberedAs } from "../../../workbench/data/images/index.ts";
import { subsetOf } from "../../../workbench/data/images/sets/image-set.ts";
import type { ImageSet, OpenImagesOptions } from "../../../workbench/data/images/types.ts";
import { parquetFile } from "../write-parquet.ts";
import { openImagesNow, write } from "./image-sets.ts";

const root = mkdtempSync(join(tmpdir(), "gblr-order-"));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;

const upTo = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i));

/** Class folders with an image each, or a parquet file with a row each. */
function setOf(names: readonly string[], form: "folders" | "parquet"): string {
  const folder = join(root, `${made++}`);
  if (form === "folders") return write(folder, Object.fromEntries(names.map((name) => [`val/${name}/1.png`, "1"])));
  const image = names.map((name) => ({ bytes: new TextEncoder().encode(name), path: "1.png" }));
  return write(folder, { "validation.parquet": parquetFile([{ image, label: [...names] }]) });
}

const open = (dataset: string, options: Partial<OpenImagesOptions> = {}): Promise<ImageSet> =>
  openImagesNow({ dataset, split: "val", cache: join(root, "cache"), ...options });

/** Label by name; folders and rows come in an order of their own. */
async function labelsOf(dataset: string, names: readonly string[], options: Partial<OpenImagesOptions> = {}) {
  const images = await open(dataset, options);
  const nameOf = (i: number) => images.nameOf(i).split("/").at(-2) as string;
  const isFolder = images.nameOf(0).endsWith(".png");
  const found = new Map(Array.from(names, (_, i) => [isFolder ? nameOf(i) : (names[i] as string), images.label(i)]));
  return { images, labels: names.map((name) => found.get(name)) };
}

const ELEVEN = upTo(11);
const IN_TEXT = ["0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9"];

for (const form of ["folders", "parquet"] as const) {
  test(`${form}: names that are 0 to n - 1 are the numbers of the classes, which is told`, async () => {
    const dataset = setOf(ELEVEN, form);
    const { images, labels } = await labelsOf(dataset, ELEVEN);
    expect(labels).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect([images.classes, images.declared, images.classOrder]).toEqual([ELEVEN, true, "number"]);
    expect(classOrderNotice(images)).toBe(
      "classes of validation are numbered by their names, which are numbers; --class-order text sorts them as text, as torchvision does",
    );
    expect(subsetOf(images, [3]).classOrder).toBe("number");
  });

  test(`${form}: the order of text is taken where it is asked for`, async () => {
    const { images, labels } = await labelsOf(setOf(ELEVEN, form), ELEVEN, { classOrder: "text" });
    expect(labels).toEqual([0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 2]);
    expect([images.classes, images.classOrder, classOrderNotice(images)]).toEqual([IN_TEXT, undefined, undefined]);
  });

  test(`${form}: other names are in the order of text, by code points`, async () => {
    for (const names of [
      upTo(12).slice(1),
      ["0", "2", "10"],
      ["00", "01", "1"],
      ["-1", "0", "1"],
      ["0", "1", "x"],
      ["n10", "n2", "B", "a"],
      ["\u{1f600}", "\uff61", "z"],
    ]) {
      const { images, labels } = await labelsOf(setOf(names, form), names);
      const sorted = [...names].sort((a, b) => ([...a].map(codeOf) < [...b].map(codeOf) ? -1 : 1));
      expect([images.classes, images.classOrder]).toEqual([sorted, undefined]);
      expect(labels).toEqual(names.map((name) => sorted.indexOf(name)));
    }
  });

  test(`${form}: numbers with gaps are the numbers of the classes where that is asked for, names are refused`, async () => {
    const names = ["7", "0", "10"];
    const { images, labels } = await labelsOf(setOf(names, form), names, { classOrder: "number" });
    expect([labels, images.classes, images.declared]).toEqual([[7, 0, 10], ELEVEN, false]);
    await expect(open(setOf(["1", "cat"], form), { classOrder: "number" })).rejects.toThrow(
      'class "cat" is not a number',
    );
  });

  test(`${form}: ten or fewer numbers are in the order of text anyway, and nothing is told`, async () => {
    const { images, labels } = await labelsOf(setOf(upTo(10), form), upTo(10));
    expect([labels, classOrderNotice(images)]).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], undefined]);
  });

  test(`${form}: the model's labels decide before anything else, which is told unless it is the order of text`, async () => {
    const { images } = await labelsOf(setOf(ELEVEN, form), ELEVEN);
    const asText = numberedAs(images, IN_TEXT);
    expect([asText.classes, classOrderNotice(asText)]).toEqual([IN_TEXT, undefined]);
    const turned = numberedAs(images, ELEVEN.toReversed());
    expect([turned.label(0), turned.classOrder]).toEqual([10, "model"]);
    expect(classOrderNotice(turned)).toContain("numbered by the model's labels");
    expect(numberedAs(images, ELEVEN)).toBe(images);
    expect(numberedAs(images, [...ELEVEN.slice(1), "other"])).toBe(images);
  });

  test(`${form}: names of properties of every object are names`, async () => {
    const names = ["__proto__", "constructor", "toString", "valueOf", "hasOwnProperty"];
    const { images, labels } = await labelsOf(setOf(names, form), names);
    const sorted = ["__proto__", "constructor", "hasOwnProperty", "toString", "valueOf"];
    expect([images.classes, labels]).toEqual([sorted, [0, 1, 3, 4, 2]]);
    const model = [...names, "cat"];
    const numbered = numberedAs(images, model);
    const classNames = Array.from({ length: names.length }, (_, i) => numbered.classes[numbered.label(i)]);
    expect(new Set(classNames)).toEqual(new Set(names));
    const given = await open(setOf(["toString"], form), { classes: names });
    expect(given.label(0)).toBe(2);
    await expect(open(setOf(["isPrototypeOf"], form), { classes: names })).rejects.toThrow('has label "isPrototypeOf"');
  });
}

/** So wide that text compares as numbers do. */
const codeOf = (character: string): string => (character.codePointAt(0) as number).toString().padStart(8, "0");

test("numbers as labels have no other order, and declared classes keep their own unless another is asked for", async () => {
  const image = [{ bytes: new Uint8Array(1), path: "1.png" }];
  const numbers = write(join(root, "numbers"), { "train.parquet": parquetFile([{ image, label: [0n] }]) });
  await expect(open(numbers, { split: "train", classOrder: "text" })).rejects.toThrow("leave out --class-order");
  const readme = `---
dataset_info:
  features:
  - name: label
    dtype:
      class_label:
        names: {'0': b, '1': __proto__, '2': a}
---
`;
  const declared = write(join(root, "declared"), {
    "README.md": readme,
    "train.parquet": parquetFile([{ image: [...image, ...image], label: ["a", "__proto__"] }]),
  });
  const labels = ({ label }: ImageSet) => [label(0), label(1)];
  expect(labels(await open(declared, { split: "train" }))).toEqual([2, 1]);
  expect(labels(await open(declared, { split: "train", classOrder: "text" }))).toEqual([1, 0]);
});

test("a column that is called as a property of every object has its own names", async () => {
  for (const column of ["__proto__", "constructor", "toString"]) {
    const stored = `{ "info": { "features": { ${JSON.stringify(column)}: { "names": ["x", "__proto__"] } } } }`;
    const rows = Object.defineProperty({ image: [{ bytes: new Uint8Array(1), path: "1.png" }] }, column, {
      value: [1n],
      enumerable: true,
    });
    const file = parquetFile([rows as never], { entries: { huggingface: stored } });
    const dataset = write(join(root, `column-${column}`), { "train.parquet": file });
    const images = await open(dataset, { split: "train", labelColumn: column });
    expect([column, images.classes, images.label(0)]).toEqual([column, ["x", "__proto__"], 1]);
  }
});

test("a folder that is called as a property of every object is no split", async () => {
  const files = ["constructor", "toString", "__proto__"].map((name) => [`${name}/1.png`, name]);
  const dataset = write(join(root, "no-splits"), Object.fromEntries(files));
  expect((await open(dataset, { split: "train" })).classes).toEqual(["__proto__", "constructor", "toString"]);
});
