// `bun bench/shrink.ts`: the time that a shrink rule adds to a training step of a GPT-2 small with 36 GBLR layers: one
// read of all widths, the rule, one write, and the summary for the metrics.

import process from "node:process";
import * as tf from "@tensorflow/tfjs-core";
import { Command, Option } from "commander";
import { median } from "../workbench/engine/core/measure.ts";
import { openEngine } from "../workbench/engine/core/open.ts";
import type { EngineName } from "../workbench/engine/core/types.ts";
import { ModelBlocks } from "../workbench/gblr/blocks.ts";
import { budgetShrink, meanShrink, type ShrinkRule, softshrink } from "../workbench/gblr/shrink/index.ts";
import { StructureLearning, summaryOf } from "../workbench/train/structure.ts";

const options = new Command("bun bench/shrink.ts")
  .description("measures the time that shrink rules add to a training step of GPT-2 small")
  .addOption(new Option("--engine <engine>", "which engine computes").default("auto"))
  .option("--every <steps>", "steps from one read of widths to the next", Number, 1)
  .option("--rounds <rounds>", "steps that are measured", Number, 30)
  .addHelpText("after", "\nExample:\n  bun bench/shrink.ts --every 4")
  .parse()
  .opts<{ engine: EngineName | "auto"; every: number; rounds: number }>();

const engine = await openEngine({ engine: options.engine });
const SIDES = [
  [768, 2304],
  [768, 3072],
  [3072, 768],
] as const;
const LAYERS = Array.from({ length: 12 }, () => SIDES).flat();

const random = (low: number, high: number, seed: number) =>
  tf.tidy(() => tf.variable(tf.randomUniform([2, 768], low, high, "float32", seed)));
const layers = LAYERS.map(([nIn, nOut], i) => ({
  nIn,
  nOut,
  widths: random(0, 0.6, i),
  locations: random(0, 1, 100 + i),
}));
const noise = LAYERS.map((_, i) => tf.randomNormal([2, 768], 0, 1e-3, "float32", i));

/** A stand-in for an optimizer step: changes all values a little. */
const wander = () =>
  layers.forEach(({ widths, locations }, i) => {
    tf.tidy(() => widths.assign(tf.add(widths, noise[i] as tf.Tensor)));
    tf.tidy(() => locations.assign(tf.add(locations, noise[i] as tf.Tensor)));
  });

const RULES: ShrinkRule[] = [
  softshrink({ threshold: 0.1 }),
  meanShrink({ target: 0.25 }),
  budgetShrink({ target: 0.25, start: 0, end: 2 }),
];
process.stdout.write(`${engine.name}, every ${options.every}\n`);
for (const rule of RULES) {
  const momentOf = (batch: number) => ({ epoch: 0, batch, batchesPerEpoch: 100, learningRate: 1e-3 });
  const { every, rounds } = options;
  const blocks = new ModelBlocks(layers);
  const learning = new StructureLearning(blocks, { rule, every, steps: Number.POSITIVE_INFINITY, momentOf });
  const times: number[] = [];
  for (let step = -every; step < rounds; step++) {
    wander();
    await layers.at(-1)?.locations.data();
    const start = performance.now();
    await learning.after(step + every);
    if (step >= 0) times.push(performance.now() - start);
  }
  const { relativeCost } = summaryOf(await blocks.read());
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  const shown = [
    `median ${median(times).toFixed(2)} ms`,
    `mean ${mean.toFixed(2)} ms`,
    `cost ${relativeCost.toFixed(4)}`,
  ];
  process.stdout.write(`${rule.name.padEnd(14)} ${shown.join("   ")}\n`);
  await learning.dispose();
}
process.exit(0);
