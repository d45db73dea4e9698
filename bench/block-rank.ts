// `bun bench/block-rank.ts`: what aligned blocks cost in accuracy and give in speed. The matrices of some blocks of a
// language model are searched by outputs for each quantum and each block rank at a share of their multiply-adds. The
// output error is compared with that of whitened low rank of the same cost, the time of a product with that of the dense
// matrix.

import process from "node:process";
import * as tf from "@tensorflow/tfjs-core";
import { Command } from "commander";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { openEngine } from "../workbench/engine/core/open.ts";
import { svd } from "../workbench/engine/linalg/index.ts";
import { GblrMatrix } from "../workbench/gblr/matrix.ts";
import { pack } from "../workbench/gblr/packed.ts";
import { OutputMetric } from "../workbench/gblr/tiles/metric.ts";
import { searchTiles } from "../workbench/gblr/tiles/search.ts";
import { loadModelNow } from "../workbench/models/folder/load.ts";
import { type Combination, page, type Row } from "./block-rank/page.ts";
import { speedsOver } from "./block-rank/speed.ts";
import { covariancesOf } from "./covariances.ts";

interface Options {
  model: string;
  data: string;
  blocks: string;
  layers: string;
  share: number;
  windows: number;
  quanta: string;
  ranks: string;
  stable?: boolean;
  json?: boolean;
}

const options = new Command("bun bench/block-rank.ts")
  .description("compares accuracy and speed of aligned blocks")
  .requiredOption("--model <folder>", "folder of a language model of Llama's family")
  .requiredOption("--data <folder>", "folder of a text data set with a train split")
  .option("--blocks <numbers>", "blocks whose matrices are searched", "1,14")
  .option("--layers <names>", "their layers", "q_proj,o_proj,gate_proj,down_proj")
  .option("--share <share>", "share of the multiply-adds", Number, 0.5)
  .option("--windows <count>", "windows of 512 tokens of calibration", Number, 64)
  .option("--quanta <numbers>", "quanta of windows", "1,8,16,32")
  .option("--ranks <numbers>", "block ranks", "1,8,16")
  .option("--stable", "blocks that do not cancel each other")
  .option("--json", "one JSON document on stdout")
  .addHelpText("after", "\nExample:\n  bun bench/block-rank.ts --model SmolLM2-135M-Instruct --data wikitext-mini")
  .parse()
  .opts<Options>();

const CONTEXT = 512;
const numbers = (list: string) => list.split(",").map(Number);
const combinations: Combination[] = numbers(options.quanta).flatMap((quantum) =>
  numbers(options.ranks).map((blockRank) => ({ quantum, blockRank })),
);

const engine = await openEngine({ engine: "torch" });
const model = await loadModelNow(options.model);
const wanted = [...model.layers.keys()].filter((name) =>
  numbers(options.blocks).some(
    (block) =>
      name.includes(`layers.${block}.`) && options.layers.split(",").some((layer) => name.endsWith(`.${layer}`)),
  ),
);
const covariances = await covariancesOf(model, wanted, { ...options, context: CONTEXT });
const rows: Row[] = [];
for (const name of wanted) rows.push(...(await rowsOf(name)));
const facts = { machine: inspectMachine(), engine: engine.version, threads: engine.threads, ...options };
process.stdout.write(options.json ? `${JSON.stringify({ ...facts, rows }, null, 2)}\n` : page(rows, combinations));

/** The rows of one matrix: a search for each combination. */
async function rowsOf(name: string): Promise<Row[]> {
  const weight = own(name);
  const covariance = covariances.get(name) as tf.Tensor2D;
  const [nOut, nIn] = weight.shape;
  const metric = await OutputMetric.of(covariance);
  const errors = await lowRankErrors(weight, metric);
  metric.dispose();
  const allowed = Math.floor(options.share * nIn * nOut);
  const found: Row[] = [];
  for (const combination of combinations) {
    const began = performance.now();
    for await (const event of searchTiles(weight, covariance, { allowed, ...combination, stable: options.stable })) {
      if (event.type !== "found") continue;
      const seconds = (performance.now() - began) / 1000;
      const matrix = new GblrMatrix(event.parameters, { mode: "eval" });
      const packed = await pack(matrix);
      const speeds = await speedsOver(packed);
      const relative = event.error / errors(event.cost / (nIn + nOut));
      const blocks = packed.spans.shape[1];
      const share = event.cost / (nIn * nOut);
      const row = { name, ...combination, error: event.error, relative, share, blocks, seconds, ...speeds };
      process.stderr.write(`${JSON.stringify(row)}\n`);
      found.push(row);
      tf.dispose([packed.spans, packed.values_in, packed.values_out, { ...event.parameters }]);
    }
  }
  weight.dispose();
  return found;
}

/** The matrix of a layer, (n_out, n_in). */
function own(name: string): tf.Tensor2D {
  return model.layer(name).structure.dense(model.structureParameters(name)).clone();
}

/** The error of whitened low rank by rank, interpolated between whole ranks. */
async function lowRankErrors(weight: tf.Tensor2D, metric: OutputMetric): Promise<(rank: number) => number> {
  const seen = metric.whitened(weight);
  const { u, s, v } = await svd(seen);
  const energies = [...(await s.data())].map((value) => value ** 2);
  tf.dispose([seen, u, s, v]);
  const total = energies.reduce((sum, each) => sum + each, 0);
  const left = (rank: number) => energies.slice(rank).reduce((sum, each) => sum + each, 0) / total;
  return (rank) => {
    const [whole, part] = [Math.floor(rank), rank % 1];
    return Math.sqrt((1 - part) * left(whole) + part * left(whole + 1));
  };
}
