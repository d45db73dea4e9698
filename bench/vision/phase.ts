// One phase of bench/vision.ts in a separate process: a JSON request on stdin, a JSON answer on stdout. Weights are
// random with a fixed seed. Images are noise in memory, or those of a data set, which threads prepare while the network
// trains.

import { join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { type ImageLoader, type ImageSet, imageLoader, openImages } from "../../workbench/data/images/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { OpenEngineOptions } from "../../workbench/engine/core/types.ts";
import { accuracy } from "../../workbench/evaluate/accuracy.ts";
import { architectureOfConfig, imageSettings, type Model } from "../../workbench/models/index.ts";
import { imageTask } from "../../workbench/train/index.ts";
import { type BenchStructure, converted, type PhaseReport, phaseReport, trained } from "../phases.ts";
import { randomModel } from "../random-weights.ts";

export interface PhaseRequest {
  phase: "evaluate" | "train";
  structure: BenchStructure;
  engine: OpenEngineOptions;
  /** timm's name */
  name: string;
  batch: number;
  microBatch: number;
  steps: number;
  /** a scratch folder */
  folder: string;
  /** a folder of images; without one they are noise */
  data?: { dataset: string; split: string };
}

export interface PhaseAnswer extends PhaseReport {
  relativeFlops: number;
  convertSeconds: number;
  /** images per second: of each training step, or of the evaluation */
  rates: number[];
  losses: number[];
}

const CLASSES = 1000;

const request = JSON.parse(await text(process.stdin)) as PhaseRequest;
process.stdout.write(JSON.stringify(await run(request)));

async function run({
  phase,
  structure,
  engine: asked,
  name,
  data,
  folder,
  ...how
}: PhaseRequest): Promise<PhaseAnswer> {
  const engine = await openEngine(asked);
  const images = data && (await opened(data, join(folder, "images")));
  const json = {
    architecture: name,
    num_classes: images?.classes.length ?? CLASSES,
    model_args: {},
    pretrained_cfg: {},
  };
  const model = randomModel(architectureOfConfig(json, name), json);
  const cost = await converted(model, structure);
  const loader = images ? fromFiles(images, model, phase) : noise(imageSettings(model).size);
  try {
    const task = () => imageTask({ model, loader, labelSmoothing: 0.1 });
    const rates =
      phase === "train"
        ? await trained({ model, task: task(), folder: join(folder, "run"), ...how })
        : await evaluated(model, loader, how);
    return { ...phaseReport(engine), ...cost, ...rates };
  } finally {
    await loader.close();
  }
}

/** A first batch alone, then `steps` batches that are timed together. */
async function evaluated(model: Model, loader: ImageLoader, { batch, steps }: { batch: number; steps: number }) {
  const scored = async (limit: number) => {
    for await (const event of accuracy(model, { loader, batch, limit })) if (event.kind === "accuracy") return event;
    throw new Error("the evaluation ended early");
  };
  await scored(batch);
  const { imagesPerSecond, loss } = await scored(batch * steps);
  return { rates: [imagesPerSecond], losses: [loss] };
}

async function opened({ dataset, split }: { dataset: string; split: string }, cache: string): Promise<ImageSet> {
  for await (const event of openImages({ dataset, split, cache })) if (event.kind === "images") return event.images;
  throw new Error(`${dataset} has no images`);
}

function fromFiles(images: ImageSet, model: Model, phase: PhaseRequest["phase"]): ImageLoader {
  const { size, mean, std } = imageSettings(model);
  const train = { kind: "train", randAugment: {}, erasing: {} } as const;
  return imageLoader(images, { size, mean, std, transform: phase === "train" ? train : "evaluate" });
}

/** An endless stream of the same noise image, which costs nothing to make. */
function noise(size: number): ImageLoader {
  const each = size * size * 3;
  const one = Float32Array.from({ length: each }, (_, i) => Math.sin(12.9898 * (i + 1)));
  const read: ImageLoader["read"] = async (items) => {
    const pixels = new Float32Array(items.length * each);
    for (let i = 0; i < items.length; i++) pixels.set(one, i * each);
    return { items, pixels, labels: Int32Array.from(items, (item) => item % CLASSES), size };
  };
  const images: ImageSet = {
    dataset: "noise",
    config: "default",
    split: "train",
    length: 2 ** 20,
    classes: Array.from({ length: CLASSES }, (_, i) => String(i)),
    declared: true,
    label: (i) => i % CLASSES,
    place: () => ({ file: "", start: 0 }),
    nameOf: (i) => `image ${i}`,
  };
  return {
    images,
    size,
    skipped: [],
    clipped: [],
    workers: 0,
    read,
    async *batches({ batch, limit = images.length }) {
      for (let at = 0; at < limit; at += batch) {
        yield await read(Array.from({ length: Math.min(batch, limit - at) }, (_, i) => at + i));
      }
    },
    close: async () => {},
  };
}
