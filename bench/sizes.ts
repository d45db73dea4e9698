// `bun bench/sizes.ts`: what one model of many sizes costs in accuracy. Matrices of a GPT-2 or Llama are searched by outputs
// for all sizes at once and for each size alone, and the output errors are compared.

import process from "node:process";
import type * as tf from "@tensorflow/tfjs-core";
import { Command } from "commander";
import { openEngine } from "../workbench/engine/core/open.ts";
import { searchNested } from "../workbench/gblr/tiles/nested.ts";
import { searchTiles } from "../workbench/gblr/tiles/search.ts";
import { loadModelNow } from "../workbench/models/folder/load.ts";
import { denseWeight } from "../workbench/models/index.ts";
import { covariancesOf } from "./covariances.ts";

interface Options {
  model: string;
  data: string;
  layers: string;
  sizes: string;
  compared: string;
  windows: number;
}

const options = new Command("bun bench/sizes.ts")
  .description("compares a search for several sizes with searches for one size")
  .requiredOption("--model <folder>", "folder of a language model")
  .requiredOption("--data <folder>", "folder of a text data set with a train split")
  .requiredOption("--layers <names>", "names of layers, separated by commas")
  .option("--sizes <shares>", "sizes of the one model", "0.2,0.3,0.4,0.5,0.6,0.7,0.8")
  .option("--compared <shares>", "those that are searched alone too", "0.4,0.6,0.8")
  .option("--windows <count>", "windows of 256 tokens of calibration", Number, 64)
  .parse()
  .opts<Options>();

const CONTEXT = 256;
const shares = (list: string) => list.split(",").map(Number);

await openEngine({ engine: "torch" });
const model = await loadModelNow(options.model);
const layers = options.layers.split(",");
const covariances = await covariancesOf(model, layers, { ...options, context: CONTEXT });
process.stdout.write("| matrix | size | cut | for this size | ratio |\n| :-- | --: | --: | --: | --: |\n");
for (const name of layers) {
  const weight = denseWeight(model, name);
  const covariance = covariances.get(name) as tf.Tensor2D;
  const costOf = (size: number) => Math.floor(size * weight.size);
  const sizes = shares(options.sizes);
  let errors: readonly number[] = [];
  for await (const event of searchNested(weight, covariance, { allowed: sizes.map(costOf) })) {
    if (event.type === "found") errors = event.errors;
  }
  for (const size of shares(options.compared)) {
    const cut = errors[sizes.indexOf(size)] as number;
    for await (const event of searchTiles(weight, covariance, { allowed: costOf(size) })) {
      if (event.type !== "found") continue;
      const row = [name, size, cut.toPrecision(4), event.error.toPrecision(4), (cut / event.error).toFixed(3)];
      process.stdout.write(`| ${row.join(" | ")} |\n`);
    }
  }
}
