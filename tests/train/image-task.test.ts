// Classifying as a task: losses against float64 sums over the model's own logits, mixed images against mixing by hand, and
// training that learns, on every engine.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { readSafetensors } from "../../hub/safetensors/read.ts";
import { drawMix, type ImageLoader, imageLoader } from "../../workbench/data/images/index.ts";
import { seedAt } from "../../workbench/engine/core/random.ts";
import { classifierLogits } from "../../workbench/models/index.ts";
import { fit, type ImageTaskOptions, imageTask } from "../../workbench/train/index.ts";
import { smallResnet, smallVit, VIT } from "../architectures/small-vision.ts";
import { madeImages } from "../data/images/made-images.ts";
import { forEachEngine } from "../engine/engines.ts";
import { liveTensors } from "../engine/ops/operands.ts";
import { numbersOf } from "./small.ts";

setDefaultTimeout(60_000);

const root = mkdtempSync(join(tmpdir(), "gblr-image-task-"));
const EDGE = 16;
let loader: ImageLoader;
beforeAll(async () => {
  const images = await madeImages(join(root, "images"), { count: 20, classes: 5 });
  const colors = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;
  loader = imageLoader(images, {
    size: EDGE,
    transform: { kind: "train", crop: { kind: "padded", padding: 1 } },
    ...colors,
    workers: 1,
  });
});
afterAll(async () => {
  await loader.close();
  rmSync(root, { recursive: true });
});

const ITEMS = [0, 7, 11, 13, 19];

forEachEngine("the image task", (_, under) => {
  test("has the mean cross-entropy of smoothed labels as its loss", async () => {
    const model = smallVit();
    const task = imageTask({ model, loader, labelSmoothing: 0.1, dropout: false });
    expect([task.length, task.unit]).toEqual([20, { name: "images", perItem: 1 }]);
    const batch = await task.read(ITEMS, { seed: 3, step: 0, index: 0 });
    const logits = tf.tidy(() => classifierLogits(model, batch.pixels as tf.Tensor4D)).arraySync() as number[][];
    const labels = (batch.labels as tf.Tensor).arraySync() as number[];
    expect(labels).toEqual(ITEMS.map((item) => loader.images.label(item)));
    const expected = meanOf(logits.map((row, i) => softLoss(row, smoothed(labels[i] as number))));
    expect((task.loss(batch, { seed: 1 }).arraySync() as number) - expected).toBeCloseTo(0, 5);
    tf.dispose(batch);
    model.dispose();
  });

  test("mixes each image and its label with the one from the batch's other end", async () => {
    const model = smallVit();
    for (const mixing of [{ mixup: 0.8 }, { cutmix: 1 }] as Partial<ImageTaskOptions<never>>[]) {
      const task = imageTask({ model, loader, labelSmoothing: 0.1, dropout: false, ...mixing });
      const [seed, before] = [5, liveTensors().tensors];
      const batch = await task.read(ITEMS, { seed, step: 0, index: 0 });
      expect(liveTensors().tensors).toBe(before + 2);
      const plain = await loader.read(ITEMS, { seed });
      const mix = drawMix(mixing, { size: EDGE, seed: seedAt(seed, 0x6d697865) });
      if (!mix) throw new Error("not mixed");
      const each = EDGE * EDGE * 3;
      const own = (y: number, x: number): number => {
        if (mix.kind === "mixup") return mix.share;
        const { top, bottom, left, right } = mix.box;
        return y >= top && y < bottom && x >= left && x < right ? 0 : 1;
      };
      const expected = plain.pixels.map((value, i) => {
        const [row, at] = [Math.floor(i / each), i % each];
        const [y, x] = [Math.floor(at / 3 / EDGE), Math.floor(at / 3) % EDGE];
        const partner = plain.pixels[(ITEMS.length - 1 - row) * each + at] as number;
        return own(y, x) * value + (1 - own(y, x)) * partner;
      });
      const seen = (batch.pixels as tf.Tensor).dataSync();
      const most = expected.reduce((sofar, value, i) => Math.max(sofar, Math.abs(value - (seen[i] as number))), 0);
      expect(most).toBeLessThan(1e-5);
      const targets = (batch.targets as tf.Tensor).arraySync() as number[][];
      for (const [i, row] of targets.entries()) {
        const [mine, other] = [i, ITEMS.length - 1 - i].map((at) => smoothed(plain.labels[at] as number)) as [
          number[],
          number[],
        ];
        row.forEach((value, k) => {
          expect(value).toBeCloseTo(mix.share * (mine[k] as number) + (1 - mix.share) * (other[k] as number), 5);
        });
      }
      const logits = tf.tidy(() => classifierLogits(model, batch.pixels as tf.Tensor4D)).arraySync() as number[][];
      const loss = meanOf(logits.map((row, i) => softLoss(row, targets[i] as number[])));
      expect((task.loss(batch, { seed: 1 }).arraySync() as number) - loss).toBeCloseTo(0, 5);
      tf.dispose(batch);
    }
    model.dispose();
  });

  test("learns from a teacher, which sees the images as they are mixed", async () => {
    const [model, teacher] = [smallVit(), smallVit({ ...VIT, model_args: { ...VIT.model_args, depth: 1 } })];
    const teaching = { temperature: 3, weight: 0.4 };
    for (const mixing of [{}, { mixup: 0.8 }, { cutmix: 1 }] as Partial<ImageTaskOptions<never>>[]) {
      const options = { model, loader, labelSmoothing: 0.1, dropout: false, ...mixing };
      const task = imageTask({ ...options, teacher: { model: teacher as never, ...teaching } });
      expect(task.settings).toMatchObject({ temperature: 3, "teacher weight": 0.4 });
      const batch = await task.read(ITEMS, { seed: 5, step: 0, index: 0 });
      const seen = (by: typeof model) =>
        tf.tidy(() => classifierLogits(by, batch.pixels as tf.Tensor4D)).arraySync() as number[][];
      const [own, wanted] = [seen(model), seen(teacher)];
      const plain = imageTask(options).loss(batch, { seed: 1 });
      const divergence = meanOf(
        own.map((row, i) => {
          const soft = logSoftmax((wanted[i] as number[]).map((z) => z / teaching.temperature));
          const scaled = logSoftmax(row.map((z) => z / teaching.temperature));
          return soft.reduce((sum, q, k) => sum + Math.exp(q) * (q - (scaled[k] as number)), 0);
        }),
      );
      const expected = 0.6 * (plain.arraySync() as number) + 0.4 * 9 * divergence;
      const loss = task.loss(batch, { seed: 1 });
      expect((loss.arraySync() as number) - expected).toBeCloseTo(0, 5);
      expect(divergence).toBeGreaterThan(1e-4);
      tf.dispose([batch, loss, plain]);
    }
    model.dispose();
    teacher.dispose();
  });

  // Plain JavaScript takes ten seconds.
  test.skipIf(under.name === "cpu").each([
    ["all parameters", undefined],
    ["adapters of kernels and the head in full", { rank: 4, full: ["fc."] }],
  ])("is learned by %s: a small network tells plain colors apart", async (_, lora) => {
    const model = smallResnet();
    const start = await numbersOf(model as never);
    const task = imageTask({ model, loader, labelSmoothing: 0.05 });
    const losses: number[] = [];
    const folder = mkdtempSync(join(root, "run-"));
    for await (const event of fit({
      model: model as never,
      task,
      folder,
      length: { epochs: 6 },
      batch: 10,
      optimizer: { learningRate: 0.02 },
      seed: 1,
      lora,
    }))
      if (event.kind === "step") losses.push(event.loss);
    expect(losses.length).toBe(12);
    expect(meanOf(losses.slice(-3))).toBeLessThan(0.85 * meanOf(losses.slice(0, 3)));
    if (lora) {
      const after = await numbersOf(model as never);
      const changed = Object.keys(start).filter((name) => !Bun.deepEquals(start[name], after[name]));
      const chosen = [...model.layers.values()].filter(({ inRecipe = true }) => inRecipe);
      const layers = [...chosen.map(({ name }) => `${name}.weight`), "fc.weight", "fc.bias"];
      expect(changed).toEqual(expect.arrayContaining(layers));
      // Batch normalization goes on to count, and a resumed run needs what it has counted.
      const others = changed.filter((name) => !layers.includes(name));
      const running = Object.keys(start).filter((name) => /running_(mean|var)$/.test(name));
      expect(others).toEqual(running);
      const stored = await readSafetensors(join(folder, "checkpoint/step-0000000012.safetensors"));
      for (const name of running)
        expect(stored.get(`parameter/${name}`)?.data).toEqual(Float32Array.from(after[name] as number[]));
    }
    model.dispose();
  });
});

test("other classes than the head's and settings that make no sense are refused", async () => {
  const images = await madeImages(join(root, "three"), { count: 3, classes: 3 });
  const model = smallVit();
  const three = { ...loader, images };
  expect(() => imageTask({ model, loader: three })).toThrow("has 3 classes and the model's head 5");
  expect(() => imageTask({ model, loader, mixup: -1 })).toThrow("mixup must be a number, 0 or more");
  expect(() => imageTask({ model, loader, labelSmoothing: 1.5 })).toThrow("labelSmoothing must be from 0 to 1");
  model.dispose();
});

const meanOf = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const smoothed = (label: number) => Array.from({ length: 5 }, (_, k) => (k === label ? 0.92 : 0.02));

function logSoftmax(logits: number[]): number[] {
  const sum = Math.log(logits.reduce((total, z) => total + Math.exp(z), 0));
  return logits.map((z) => z - sum);
}

function softLoss(logits: number[], targets: number[]): number {
  const likely = logSoftmax(logits);
  return targets.reduce((loss, target, k) => loss - target * (likely[k] as number), 0);
}
