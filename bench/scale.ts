// `bun bench/scale.ts`: calibrates the model of a training step (docs/scale.md) on a small GPT-2 with two ranks of this
// machine, and compares what it predicts for a larger one with what is measured. `--tables` prints predictions for GPUs.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Command } from "commander";
import { freePort, inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { countFrom } from "../workbench/cli/shared/options.ts";
import { median } from "../workbench/engine/core/measure.ts";
import { formatSeconds, markdownTable } from "./engine/report.ts";
import { runPhase } from "./phases.ts";
import { calibrated, type Prediction, predictions, slowest, sumPredictions } from "./scale/calibrate.ts";
import type { Machine } from "./scale/model.ts";
import type { ScaleAnswer, ScaleRequest } from "./scale/phase.ts";
import { sizesOf, tables } from "./scale/tables.ts";
import { flopsPerToken, parametersOf, type Transformer } from "./scale/transformers.ts";

interface Options {
  rounds: number;
  tables?: boolean;
}

const RANKS = 2;
/** windows of a rank in a step */
const WINDOWS = [1, 4];
/** numbers of 4 bytes: 4 bytes to 25 MiB, a bucket */
const SUMS = [1, 2 ** 14, 2 ** 18, 2 ** 21, 6_553_600];
const small = sizeOf("small", { blocks: 4, width: 256 });
const large = sizeOf("large", { blocks: 6, width: 384 });

const options = new Command("bun bench/scale.ts")
  .description("a model of the time of a data-parallel training step: calibrated, checked, and its tables for GPUs")
  .option("--rounds <count>", "times that all parts take turns", countFrom(1), 9)
  .option("--tables", "print predictions for GPUs; nothing is measured")
  .addHelpText("after", "\nExample:\n  bun bench/scale.ts --tables")
  .parse()
  .opts<Options>();

process.stdout.write(options.tables ? `${[sizesOf(), "", ...tables()].join("\n")}` : await measuredPage());

function sizeOf(name: string, { blocks, width }: { blocks: number; width: number }): Transformer {
  return { name, blocks, width, keys: width, inner: 4 * width, vocabulary: 4096, context: 64, family: "gpt2" };
}

async function measuredPage(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "gblr-scale-"));
  try {
    return page(await measured(folder));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measured(folder: string): Promise<ScaleAnswer[]> {
  const request: ScaleRequest = {
    models: [small, large],
    windows: WINDOWS,
    sums: SUMS,
    rounds: options.rounds,
    folder,
  };
  const port = `${await freePort()}`;
  const [program, script] = [process.execPath, join(import.meta.dirname, "scale/phase.ts")];
  return Promise.all(
    Array.from({ length: RANKS }, (_, rank) =>
      runPhase<ScaleAnswer>([program, script], request, {
        ...{ OMP_NUM_THREADS: "1", MASTER_ADDR: "127.0.0.1", MASTER_PORT: port },
        ...{ RANK: `${rank}`, WORLD_SIZE: `${RANKS}`, LOCAL_RANK: `${rank}`, LOCAL_WORLD_SIZE: `${RANKS}` },
      }),
    ),
  );
}

function page(answers: readonly ScaleAnswer[]): string {
  const seconds = slowest(answers);
  const machine = calibrated(small, seconds, { windows: WINDOWS, sums: SUMS });
  const checked = predictions(large, machine, { seconds, windows: WINDOWS });
  const { cpu, cores } = inspectMachine();
  return [
    "# The model of a training step, calibrated and checked",
    "",
    `${new Date().toISOString().slice(0, 10)}, ${cpu}, ${cores} cores; two ranks of one thread, Gloo over loopback. Medians of`,
    `${options.rounds} rounds, in which both sizes and all parts take turns; of both ranks the slower one counts.`,
    "",
    ...[small, large].map(described),
    "",
    "## Constants, from the small size alone",
    "",
    ...constants(machine),
    "",
    "## What they give for the small size",
    "",
    ...compared([
      ...predictions(small, machine, { seconds, windows: WINDOWS }),
      ...sumPredictions(machine, { seconds, sums: SUMS }),
    ]),
    "",
    "## What they predict for the large size",
    "",
    ...compared(checked),
    "",
    `Median error: ${percentOf(median(checked.map((row) => Math.abs(errorOf(row)))))}.`,
    "",
    "```sh",
    `bun bench/scale.ts --rounds ${options.rounds}`,
    "```",
    "",
  ].join("\n");
}

function described(model: Transformer): string {
  const { name, blocks, width, vocabulary, context } = model;
  const size = `${(parametersOf(model) / 1e6).toFixed(2)} M parameters, ${(flopsPerToken(model) / 1e6).toFixed(1)} MFLOP a token`;
  return `- ${name}: GPT-2 with ${blocks} blocks of width ${width}, ${vocabulary} tokens, windows of ${context}; ${size}`;
}

function constants(machine: Machine): string[] {
  return markdownTable(
    ["constant", "value"],
    [
      ["products and all that grows with tokens", `${(machine.rate / 1e9).toFixed(1)} GFLOP/s`],
      ["memory, in the optimizer", `${(machine.memory / 1e9).toFixed(2)} GB/s`],
      ["fixed time of a step, for each block", formatSeconds(machine.perBlock)],
      ["bandwidth of a rank", `${(machine.bandwidth / 1e9).toFixed(2)} GB/s`],
      ["latency of a message", formatSeconds(machine.latency)],
      ["computation lost for a second of hidden exchange", machine.contention.toFixed(2)],
    ],
  );
}

function errorOf({ predicted, measured }: Prediction): number {
  return predicted / measured - 1;
}

function percentOf(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

function compared(rows: readonly Prediction[]): string[] {
  return markdownTable(
    ["what", "predicted", "measured", "error"],
    rows.map((row) => [row.what, formatSeconds(row.predicted), formatSeconds(row.measured), percentOf(errorOf(row))]),
  );
}
