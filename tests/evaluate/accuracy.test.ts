// Accuracy against counting by hand on the logits themselves, on every engine; what is refused.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import {
  type ImageLoader,
  type ImageLoaderOptions,
  type ImageSet,
  imageLoader,
} from "../../workbench/data/images/index.ts";
import { type Accuracy, type AccuracyOptions, accuracy } from "../../workbench/evaluate/accuracy.ts";
import { classifierLogits, imageSettings, type Model } from "../../workbench/models/index.ts";
import { smallResnet, smallVit, VIT } from "../architectures/small-vision.ts";
import { madeImages } from "../data/images/made-images.ts";
import { forEachEngine } from "../engine/engines.ts";

setDefaultTimeout(60_000);

const root = mkdtempSync(join(tmpdir(), "gblr-accuracy-"));
const SETTINGS: ImageLoaderOptions = {
  size: 16,
  transform: "evaluate",
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
  workers: 0,
};
let images: ImageSet;
let loader: ImageLoader;
beforeAll(async () => {
  images = await madeImages(join(root, "seven"), { count: 21, classes: 7 });
  loader = imageLoader(images, SETTINGS);
});
afterAll(async () => {
  await loader.close();
  rmSync(root, { recursive: true });
});

const seven = () => smallVit({ ...VIT, num_classes: 7 });

async function scored(model: Model<never>, options: Partial<AccuracyOptions> = {}): Promise<Accuracy> {
  for await (const event of accuracy(model, { loader, batch: 4, ...options }))
    if (event.kind === "accuracy") return event;
  throw new Error("no accuracy came");
}

const refusal = (model: Model<never>, options: Partial<AccuracyOptions> = {}): Promise<string> =>
  scored(model, options).then(
    () => "",
    (error: Error) => `${error.name}: ${error.message}`,
  );

forEachEngine("accuracy", () => {
  test("is what sorting the logits of each image gives", async () => {
    const model = seven();
    const score = await scored(model as never);
    const { pixels, labels } = await loader.read([...Array(21).keys()]);
    const logits = tf
      .tidy(() => classifierLogits(model, tf.tensor4d(pixels, [21, 16, 16, 3])))
      .arraySync() as number[][];
    let [first, five, loss] = [0, 0, 0];
    const confusion = new Uint32Array(49);
    for (const [i, row] of logits.entries()) {
      const order = [...row.keys()].sort((a, b) => (row[b] as number) - (row[a] as number));
      const label = labels[i] as number;
      first += Number(order[0] === label);
      five += Number(order.slice(0, 5).includes(label));
      loss -= Math.log(Math.exp(row[label] as number) / row.reduce((sum, z) => sum + Math.exp(z), 0));
      (confusion[7 * label + (order[0] as number)] as number)++;
    }
    expect([score.top1, score.top5, score.images, score.classes]).toEqual([first / 21, five / 21, 21, 7]);
    expect(score.loss).toBeCloseTo(loss / 21, 5);
    expect(score.confusion).toEqual(confusion);
    expect(score.top5).toBeGreaterThan(score.top1);
    model.dispose();
  });
});

test("of the first images only are those asked for, and time is the clock's", async () => {
  const model = seven();
  let time = 0;
  const score = await scored(model as never, { limit: 5, clock: () => 1000 * 2 ** time++ });
  expect([score.images, score.seconds, score.imagesPerSecond]).toEqual([5, 1, 5]);
  expect(score.confusion.reduce((sum, count) => sum + count, 0)).toBe(5);
  model.dispose();
});

test("of classes that are as likely counts the first", async () => {
  const model = seven();
  const { classes } = imageSettings(model);
  for (const [name, variable] of model.parameters)
    if (name.startsWith("head.")) tf.tidy(() => variable.assign(tf.zerosLike(variable)));
  const score = await scored(model as never);
  expect([score.top1, score.top5]).toEqual([1 / 7, 5 / 7]);
  expect(score.loss).toBeCloseTo(Math.log(classes), 6);
  model.dispose();
});

test("is refused for another number of classes, labels beyond the head, and values that are not finite", async () => {
  const five = smallResnet();
  expect(await refusal(five as never)).toContain(
    "seven: has 7 classes and the model's head 5; choose a model trained on",
  );
  // Of classes that are not named the largest label counts.
  const undeclared = { ...images, declared: false };
  const numbers = imageLoader(undeclared, SETTINGS);
  expect(await refusal(five as never, { loader: numbers })).toContain(
    "has label 5, and the model's head has 5 classes, 0 to 4",
  );
  expect((await scored(five as never, { loader: numbers, limit: 5 })).images).toBe(5);
  five.dispose();
  const broken = seven();
  const bias = broken.parameter("head.bias");
  bias.assign(tf.tensor1d([0, 0, Number.NaN, 0, 0, 0, 0]));
  const message = await refusal(broken as never);
  expect(message).toMatch(/^EngineError: the loss of .*0000\.png is NaN/);
  broken.dispose();
});

test("leaves out what cannot be decoded and says how many; nothing left is an error", async () => {
  const set = await madeImages(join(root, "bad"), { count: 14, classes: 7 });
  for (const i of [3, 4]) writeFileSync(set.nameOf(i), "");
  const lenient = imageLoader(set, { ...SETTINGS, skipBad: true });
  const model = seven();
  const { images: count, skipped } = await scored(model as never, { loader: lenient });
  expect([count, skipped]).toEqual([12, 2]);
  const strict = imageLoader(set, SETTINGS);
  expect(await refusal(model as never, { loader: strict })).toContain("is empty, 0 bytes");
  for (let i = 0; i < 14; i++) writeFileSync(set.nameOf(i), "");
  const none = imageLoader(set, { ...SETTINGS, skipBad: true });
  expect(await refusal(model as never, { loader: none })).toContain("has no image to score: all 14 cannot be decoded");
  model.dispose();
});
