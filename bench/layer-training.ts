// `bun bench/layer-training.ts`: the speed of training GBLR layers over dense ones: a forward pass and the gradients of
// the input and of all parameters. The layers are the linear layers of one block of GPT-2 small with spans that block
// searches found (layers/spans.ts), and random values. Contestants take turns.

import process from "node:process";
import * as tf from "@tensorflow/tfjs-core";
import { Command } from "commander";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { median } from "../workbench/engine/core/measure.ts";
import { openEngine } from "../workbench/engine/core/open.ts";
import { linear } from "../workbench/engine/ops/index.ts";
import { valueAndGradients } from "../workbench/engine/tfjs/tape.ts";
import { type ApplyOptions, GblrMatrix, type GblrParameters } from "../workbench/gblr/matrix.ts";
import { unpack } from "../workbench/gblr/packed.ts";
import { type BenchLayer, BLOCKS } from "./layers/models.ts";
import { type FoundSpans, packedLike, readSpans } from "./layers/spans.ts";

const SHARES = [0.4, 0.25];
/** GBLR contestants: σ of the masks, whether widths and locations are trained, and how the layer multiplies. */
const CONTESTANTS: Record<string, { sigma: number; places: boolean; how?: ApplyOptions }> = {
  "dense matrix": { sigma: Number.POSITIVE_INFINITY, places: true, how: { via: "dense" } },
  "sharp masks": { sigma: Number.POSITIVE_INFINITY, places: true },
  "σ 50": { sigma: 50, places: true },
  "fixed places": { sigma: Number.POSITIVE_INFINITY, places: false },
};

interface Options {
  rows: number;
  rounds: number;
  threads?: number;
  cpuTime?: boolean;
  kind: string;
}

const options = new Command("bun bench/layer-training.ts")
  .description("measures the speed of training GBLR layers over dense ones")
  .option("--rows <rows>", "rows of x", Number, 1024)
  .option("--rounds <rounds>", "times that the contestants are measured in turn", Number, 7)
  .option("--threads <count>", "CPU threads (default: one per core)", Number)
  .option("--cpu-time", "measure processor time, for a busy machine; use it with --threads 1")
  .option("--kind <kind>", "of the search: compact, compact-16, stable-16", "compact")
  .addHelpText("after", "\nExample:\n  bun bench/layer-training.ts --rows 4096")
  .parse()
  .opts<Options>();

const engine = await openEngine({ engine: "torch", ...(options.threads && { threads: options.threads }) });
const found = await readSpans();
const header = ["multiply-adds", "layer", ...Object.keys(CONTESTANTS)];
const rows: string[][] = [];
for (const share of SHARES) {
  const totals = new Map<string, number[]>();
  for (const layer of BLOCKS["GPT-2 small"]) {
    const times = await measured(found.get(`${options.kind}/${share}/${layer.like}`) as FoundSpans, layer);
    for (const [name, own] of times) {
      const sums = own.map((each, i) => each + (totals.get(name)?.[i] ?? 0));
      totals.set(name, sums);
    }
    rows.push([`${100 * share} %`, `${layer.nIn} → ${layer.nOut}`, ...speeds(times)]);
    process.stderr.write(`${rows.at(-1)?.join("  ")}\n`);
  }
  rows.push([`${100 * share} %`, "all", ...speeds(totals)]);
}
process.stdout.write(page());

/** Seconds of a step in each round, by contestant. */
async function measured(spans: FoundSpans, { nIn, nOut }: BenchLayer): Promise<Map<string, number[]>> {
  const packed = packedLike(spans, { nIn, nOut });
  const start = unpack(packed).parameters;
  const matrix = Object.fromEntries(
    Object.entries(start).map(([name, tensor]) => [name, tf.variable(tensor)]),
  ) as unknown as GblrParameters<tf.Variable>;
  const [x, weight] = [tf.variable(tf.randomNormal([options.rows, nIn])), tf.variable(tf.randomNormal([nOut, nIn]))];
  const outer = tf.randomNormal([options.rows, nOut]);
  const step = (product: () => tf.Tensor, variables: tf.Variable[]) => () => {
    const { value, gradients } = valueAndGradients(() => tf.sum(tf.mul(product(), outer)) as tf.Scalar, variables);
    tf.dispose([value, ...gradients.values()]);
  };
  const steps = new Map([["dense", step(() => linear(x, weight), [x, weight])]]);
  for (const [name, { sigma, places, how }] of Object.entries(CONTESTANTS)) {
    const learned = places ? Object.values(matrix) : [matrix.lr_weight1, matrix.lr_weight2];
    steps.set(
      name,
      step(() => new GblrMatrix(matrix, { sigma }).apply(x, how), [x, ...learned]),
    );
  }
  const times = new Map<string, number[]>([...steps.keys()].map((name) => [name, []]));
  // The first round warms up.
  for (let round = -1; round < options.rounds; round++) {
    for (const [name, run] of steps) {
      const began = seconds();
      run();
      await engine.synchronize();
      if (round >= 0) times.get(name)?.push(seconds() - began);
    }
  }
  tf.dispose([x, weight, outer, { ...start }, { ...matrix }, packed.spans, packed.values_in, packed.values_out]);
  return times;
}

function seconds(): number {
  if (!options.cpuTime) return performance.now() / 1000;
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Seconds of dense over those of each contestant, medians of the ratios of rounds. */
function speeds(times: ReadonlyMap<string, number[]>): string[] {
  const dense = times.get("dense") as number[];
  return Object.keys(CONTESTANTS).map((name) =>
    median((times.get(name) as number[]).map((own, i) => (dense[i] as number) / own)).toFixed(2),
  );
}

function page(): string {
  const line = (parts: readonly string[]) => `| ${parts.join(" | ")} |`;
  const { name, version, threads } = engine;
  return [
    `${inspectMachine().cpu}; engine ${name}, ${version}, ${threads} threads, ${options.cpuTime ? "processor time" : "wall time"}. Speed of training over dense, ${options.rows} rows, spans ${options.kind}, medians of ${options.rounds} rounds.`,
    "",
    line(header),
    line(header.map((_, i) => (i < 2 ? "---" : "--:"))),
    ...rows.map(line),
    "",
  ].join("\n");
}
