// `gblr eval acc` on images and models as people have them: class folders that are numbers, links, folders below a class's
// own, 16 bit grayscale, names that are properties of objects, preprocessors that are not to be done.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { addEval } from "../../workbench/cli/eval.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { smallVit, VIT, VIT_TRANSFORMERS } from "../architectures/small-vision.ts";
import { deepGray } from "../data/images/deep-gray.ts";
import { plainImage } from "../data/images/image-sets.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { runVerb } from "./in-process.ts";

setDefaultTimeout(60_000);

const at = temporaryFolder();
const ELEVEN = Array.from({ length: 11 }, (_, i) => String(i));
const IN_TEXT = [...ELEVEN].sort();
const cacheBefore = process.env.GBLR_CACHE;

beforeAll(async () => {
  process.env.GBLR_CACHE = at("cache");
  await openEngine({ engine: "wasm" });
  await save("eleven", { ...VIT, num_classes: 11 });
  await save("text", { ...VIT, num_classes: 11, label_names: IN_TEXT });
  await save("five", VIT_TRANSFORMERS);
  await images("numbers", ELEVEN);
});
afterAll(() => {
  if (cacheBefore === undefined) delete process.env.GBLR_CACHE;
  else process.env.GBLR_CACHE = cacheBefore;
});

async function save(name: string, config: object): Promise<void> {
  const model = smallVit(config);
  await saveModelNow(model as never, at(name));
  model.dispose();
}

/** An image a class, each another, under `val`. */
async function images(dataset: string, names: readonly string[], below = ""): Promise<void> {
  for (const [i, name] of names.entries()) {
    mkdirSync(at(dataset, "val", name, below), { recursive: true });
    writeFileSync(at(dataset, "val", name, below, "1.png"), await plainImage(i));
  }
}

const run = (model: string, dataset: string, ...args: string[]) =>
  runVerb(addEval, [
    ...["eval", "acc", at(model), "--dataset", at(dataset), "--split", "val"],
    ...["--engine", "wasm", "--workers", "0", ...args],
  ]);

interface Result {
  top1: number;
  loss: number;
  images: number;
  classOrder?: string;
  notes: string[];
  confusions: { class: string; taken: string }[];
}

async function measured(model: string, dataset: string, ...args: string[]): Promise<Result> {
  const { code, stdout, stderr } = await run(model, dataset, "--json", ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as Result;
}

/** Which output of the network each class was taken for, where outputs are called so. */
const outputs = ({ confusions }: Result, names: readonly string[]) =>
  Object.fromEntries(confusions.map((pair) => [pair.class, names.indexOf(pair.taken)]));

test("classes that are numbers are those outputs of the network, or in the order of text, as is told and asked", async () => {
  const number = await measured("eleven", "numbers");
  expect([number.images, number.classOrder, number.notes.length]).toEqual([11, "number", 1]);
  const text = await measured("eleven", "numbers", "--class-order", "text");
  expect([text.images, text.classOrder, text.notes]).toEqual([11, "text", []]);
  // The same outputs for the same images, under other names.
  expect(outputs(number, ELEVEN)).toEqual(outputs(text, IN_TEXT));
  expect(number.loss).not.toBe(text.loss);
  const labeled = await measured("text", "numbers");
  expect([labeled.loss, labeled.notes]).toEqual([text.loss, []]);
  expect((await measured("text", "numbers", "--class-order", "number")).loss).toBe(number.loss);
  const table = await run("eleven", "numbers");
  expect(table.stdout).toContain("classes of validation are numbered by their names, which are numbers; --class-order");
});

test("an order that is none, or of names that are no numbers, is refused", async () => {
  expect((await run("eleven", "numbers", "--class-order", "size")).code).toBe(2);
  await images("letters", [..."abcde"]);
  const { code, stderr } = await run("five", "letters", "--class-order", "number");
  expect([code, stderr]).toEqual([1, `gblr: ${at("letters")}: class "a" is not a number; use --class-order text\n`]);
});

test("links and folders below a class's own give what plain folders give", async () => {
  await images("deep", ELEVEN, "images/more");
  mkdirSync(at("linked"));
  symlinkSync(at("deep", "val"), at("linked", "val"));
  const plain = await measured("eleven", "numbers");
  for (const dataset of ["deep", "linked"]) {
    const { top1, loss, images } = await measured("eleven", dataset);
    expect([dataset, top1, loss, images]).toEqual([dataset, plain.top1, plain.loss, 11]);
  }
});

test("16 bit grayscale with levels above 255 is told of", async () => {
  cpSync(at("numbers"), at("gray"), { recursive: true });
  writeFileSync(at("gray", "val", "3", "1.png"), deepGray());
  const told = `1 image is 16-bit grayscale, and values above 255 were clipped, as in Pillow; the first is ${at("gray", "val", "3", "1.png")}`;
  expect((await measured("eleven", "gray")).notes[1]).toBe(told);
  expect((await run("eleven", "gray")).stdout).toContain(told);
});

test("classes may be called as properties of every object", async () => {
  const names = ["__proto__", "constructor", "hasOwnProperty", "toString", "valueOf"];
  await images("properties", names);
  await save("properties-model", { ...VIT, label_names: names.toReversed() });
  const result = await measured("properties-model", "properties", "--report", at("report"));
  expect(result.confusions.map((pair) => pair.class).sort()).toEqual(names);
  expect(result.classOrder).toBe("model");
  const { classes } = JSON.parse(readFileSync(at("report", "classification.json"), "utf8"));
  expect(classes).toEqual(names.toReversed());
  expect(readFileSync(at("report", "report.html"), "utf8")).toContain("__proto__");
});

test("a preprocessor with a key that is not done is refused in one line with its place", async () => {
  cpSync(at("five"), at("padded"), { recursive: true });
  const file = at("padded", "preprocessor_config.json");
  writeFileSync(file, JSON.stringify({ image_processor_type: "ViTImageProcessor", size: 16, do_pad: true }));
  await images("letters", [..."abcde"]);
  const { code, stdout, stderr } = await run("padded", "letters");
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toBe(`gblr: ${file}: do_pad is true: this is not done here; remove the key if it changes no pixel\n`);
});

test("a preprocessor's factor changes what the network sees", async () => {
  const loss = async (fields: object) => {
    const processor = { image_processor_type: "ViTImageProcessor", size: 16, ...fields };
    writeFileSync(at("five", "preprocessor_config.json"), JSON.stringify(processor));
    return (await measured("five", "letters")).loss;
  };
  const plain = await loss({});
  expect(await loss({ rescale_factor: 2 / 255 })).not.toBe(plain);
  // Twice the values, less twice the mean, by twice the deviation.
  const same = { rescale_factor: 2 / 255, image_mean: [1, 1, 1], image_std: [1, 1, 1] };
  expect(await loss(same)).toBeCloseTo(plain, 5);
});
