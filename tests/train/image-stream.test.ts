// Training on a stream of images in one process, over several epochs: a run that is stopped goes on where it was, with the
// crops and mixtures of one left alone.

import { afterEach, beforeAll, expect, test } from "bun:test";
import { type ImageStreamLoader, imageStreamLoader, openImageShards } from "../../workbench/data/images/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { type FitOptions, imageTask, type Task } from "../../workbench/train/index.ts";
import { smallVit, VIT } from "../architectures/small-vision.ts";
import { EDGE, shardsAt, writeImages } from "../data/stream/images.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { collect } from "./runs.ts";

const at = temporaryFolder();
const counted = { open: 0, bytes: 0 };
const BATCH = 4;
const STEPS = 14;
let loader: ImageStreamLoader;
let rows: number;
let runs = 0;

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  rows = await writeImages(at("images"), [
    [5, 4],
    [7, 5],
  ]);
});
afterEach(async () => {
  await loader.close();
  await loader.images.close();
  expect(counted.open).toBe(0);
});

async function openLanes(lanes: number): Promise<void> {
  const shards = await openImageShards(shardsAt(at("images"), counted, { head: rows }));
  const colors = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;
  loader = imageStreamLoader(await shards.stream({ lanes, seed: 5, shuffled: 3 }), {
    ...{ size: EDGE, ...colors, workers: 1 },
    transform: { kind: "train", crop: { kind: "padded", padding: 2 }, flip: 0.5 },
  });
}

interface Trained {
  losses: number[];
  /** images of each micro-batch, by their labels */
  seen: number[][];
  stepsPerEpoch: number;
}

/** Trains a new model. */
async function trained(changes: Partial<FitOptions> = {}, mixing: { mixup?: number } = {}): Promise<Trained> {
  const model = smallVit({ ...VIT, num_classes: rows });
  const seen: number[][] = [];
  const recorded = (task: Task): Task => ({
    ...task,
    async read(items, place) {
      const batch = await task.read(items, place);
      const labels = await batch.labels?.array();
      if (labels) seen.push(labels as number[]);
      return batch;
    },
  });
  try {
    const events = await collect({
      model,
      task: recorded(imageTask({ model, loader, labelSmoothing: 0.1, ...mixing })),
      folder: at(`run-${runs++}`),
      ...{ seed: 3, length: { steps: STEPS }, batch: BATCH, microBatch: BATCH / loader.images.lanes },
      optimizer: { learningRate: 1e-2 },
      ...changes,
    });
    const stepsPerEpoch = events.flatMap((event) => ("stepsPerEpoch" in event ? [event.stepsPerEpoch] : []))[0] ?? 0;
    return { losses: events.flatMap((event) => (event.kind === "step" ? [event.loss] : [])), seen, stepsPerEpoch };
  } finally {
    model.dispose();
  }
}

test("an epoch is as long as that of a set, of whole steps, and a pass has each image once", async () => {
  await openLanes(1);
  const { seen, stepsPerEpoch } = await trained();
  expect(stepsPerEpoch).toBe(Math.ceil(rows / BATCH));
  expect(seen.every((labels) => labels.length === BATCH)).toBe(true);
  const all = seen.flat();
  for (const pass of [0, 1]) {
    const images = all.slice(pass * rows, (pass + 1) * rows);
    expect(images.toSorted((a, b) => a - b)).toEqual(Array.from({ length: rows }, (_, i) => i));
  }
});

test.each([
  [1, {}],
  [2, { mixup: 0.8 }],
])("a run with %p micro-batches a step, %p, that is stopped ends as one left alone", async (lanes, mixing) => {
  await openLanes(lanes);
  const evaluation = { every: { steps: 1 }, run: async () => ({ test: { nll: 1 } }) };
  const { losses: whole } = await trained({ evaluation }, mixing);
  expect(new Set(whole).size).toBe(STEPS);
  for (const step of [1, 8]) {
    const folder = at(`${runs} stopped after ${step}`);
    const stop = new AbortController();
    const run = async (now: { step: number }) => {
      if (now.step === step) stop.abort();
      return { test: { nll: 1 } };
    };
    const stopped = { folder, signal: stop.signal, evaluation: { every: { steps: 1 }, run } };
    expect((await trained(stopped, mixing)).losses).toEqual(whole.slice(0, step));
    expect((await trained({ folder, evaluation }, mixing)).losses).toEqual(whole.slice(step));
  }
});

test("a run is not resumed with another order, and a head of other classes is refused", async () => {
  await openLanes(1);
  const folder = at("another order");
  await trained({ folder, length: { steps: 2 } });
  await loader.images.close();
  const shards = await openImageShards(shardsAt(at("images"), counted, { head: rows }));
  const { size } = loader;
  await loader.close();
  const colors = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;
  const stream = await shards.stream({ lanes: 1, seed: 5, shuffled: 9 });
  loader = imageStreamLoader(stream, { size, ...colors, workers: 0, transform: "evaluate" });
  await expect(trained({ folder, length: { steps: 2 } })).rejects.toThrow(/task shuffled is 3, requested 9/);
  const model = smallVit();
  const declared = { ...loader, reader: () => loader.reader(), images: { ...stream, declared: true } };
  expect(() => imageTask({ model, loader: declared })).toThrow(`has ${rows} classes and the model's head 5`);
  model.dispose();
});
