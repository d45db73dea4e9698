// Measures how fast images are prepared: ImageNet photographs and CIFAR-10 pictures, for evaluation and for training,
// by number of threads. No network is run.
//
//   bun bench/images.ts FOLDER_OF_DATA_SETS [OUT.md]     (a folder with imagenet-sample and cifar10-jpeg in it)

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import { dirname, join } from "node:path";
import {
  type ImageLoaderOptions,
  type ImageSet,
  imageLoader,
  openImages,
  type TrainingTransform,
} from "../workbench/data/images/index.ts";

const [folder, out] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: bun bench/images.ts FOLDER_OF_DATA_SETS [OUT.md]");

const COLORS = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;
const SECONDS = 3;
const loadBefore = os.loadavg()[0] as number;
const BATCH = 64;

const RESNET: TrainingTransform = { kind: "train" };
const VIT: TrainingTransform = { kind: "train", randAugment: {}, erasing: {} };
const SMALL: TrainingTransform = { kind: "train", crop: { kind: "padded" } };

interface Case {
  name: string;
  set: string;
  split: string;
  options: Pick<ImageLoaderOptions, "size" | "transform">;
  /** small images stay decoded: `first` is the pass that reads the set, `later` the passes after it */
  pass?: "first" | "later";
}

const CASES: Case[] = [
  {
    name: "ImageNet 224, evaluation",
    set: "imagenet-sample",
    split: "validation",
    options: { size: 224, transform: "evaluate" },
  },
  {
    name: "ImageNet 224, crop and flip",
    set: "imagenet-sample",
    split: "validation",
    options: { size: 224, transform: RESNET },
  },
  {
    name: "ImageNet 224, RandAugment and erasing",
    set: "imagenet-sample",
    split: "validation",
    options: { size: 224, transform: VIT },
  },
  ...(["first", "later"] as const).flatMap((pass): Case[] => [
    {
      name: `CIFAR 32, evaluation, ${pass} pass`,
      set: "cifar10-jpeg",
      split: "test",
      options: { size: 32, transform: { kind: "evaluate", cropShare: 1 } },
      pass,
    },
    {
      name: `CIFAR 32, crop and flip, ${pass} pass`,
      set: "cifar10-jpeg",
      split: "test",
      options: { size: 32, transform: SMALL },
      pass,
    },
  ]),
];

const cache = mkdtempSync(join(os.tmpdir(), "bench-images-"));
const results: { name: string; workers: number; imagesPerSecond: number; cpuMillisecondsAnImage: number }[] = [];
try {
  for (const { name, set, split, options, pass } of CASES) {
    const images = await opened(join(folder, set), split);
    for (const workers of [...new Set([0, 1, os.availableParallelism()])]) {
      const result = { name, workers, ...(await measured(images, { ...options, ...COLORS, workers }, pass)) };
      results.push(result);
      const { imagesPerSecond, cpuMillisecondsAnImage } = result;
      console.log(
        `${name.padEnd(40)} ${workers} threads  ${imagesPerSecond.toFixed(0).padStart(6)} images/s  ${cpuMillisecondsAnImage.toFixed(2)} ms of a core each`,
      );
    }
  }
} finally {
  rmSync(cache, { recursive: true });
}
if (out !== undefined) {
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, `${report()}\n`);
}

function report(): string {
  const rows = results.map(
    ({ name, workers, imagesPerSecond, cpuMillisecondsAnImage }) =>
      `| ${name} | ${workers} | ${imagesPerSecond.toFixed(0)} | ${cpuMillisecondsAnImage.toFixed(2)} ms |`,
  );
  return [
    `# Preparing images on ${os.cpus()[0]?.model}, ${os.availableParallelism()} cores`,
    "",
    `Bun ${process.versions.bun}, ${os.type()} ${os.release()}, ${os.arch()}. Load ${loadBefore.toFixed(1)} before it began.`,
    `Batches of ${BATCH}, ${SECONDS} seconds each. Other work on the machine lowers the rate, and not the time of a core.`,
    "Images as small as CIFAR's stay decoded: their first pass and later ones are apart.",
    "",
    "| images | threads | images/s | of a core, each |",
    "| --- | ---: | ---: | ---: |",
    ...rows,
  ].join("\n");
}

async function opened(dataset: string, split: string): Promise<ImageSet> {
  for await (const event of openImages({ dataset, split, cache })) if (event.kind === "images") return event.images;
  throw new Error(`${dataset}: no images`);
}

/** Prepares two batches ahead, as in training. Other load on the machine lowers the rate but not the CPU time. */
async function measured(images: ImageSet, options: ImageLoaderOptions, pass: Case["pass"]) {
  const loader = imageLoader(images, options);
  const items = (start: number) => Array.from({ length: BATCH }, (_, i) => (start + i) % images.length);
  const most = pass === "first" ? images.length - 3 * BATCH : Number.POSITIVE_INFINITY;
  try {
    // Starts the threads: before a first pass with the last batch of the set only, which is then left out of the pass.
    for (let at = pass === "later" ? 0 : images.length - BATCH; at < images.length; at += BATCH) {
      await loader.read(items(at));
    }
    const [cpu, start] = [process.cpuUsage(), performance.now()];
    let count = 0;
    const ahead = [loader.read(items(0), { seed: 1 }), loader.read(items(BATCH), { seed: 2 })];
    for (let at = 2 * BATCH; at < most && performance.now() - start < 1000 * SECONDS; at += BATCH) {
      ahead.push(loader.read(items(at), { seed: at }));
      count += (await (ahead.shift() as (typeof ahead)[number])).items.length;
    }
    const seconds = (performance.now() - start) / 1000;
    const last = await Promise.all(ahead);
    const { user, system } = process.cpuUsage(cpu);
    const all = count + last.reduce((sum, batch) => sum + batch.items.length, 0);
    return { imagesPerSecond: count / seconds, cpuMillisecondsAnImage: (user + system) / 1000 / all };
  } finally {
    await loader.close();
  }
}
