// `bun bench/ranks.ts`: training over two processes on this machine compared with one process. Each contestant trains GPT-2
// with random weights for some steps of the same batch, in processes of its own; contestants take turns.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Command } from "commander";
import { freePort, inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { median } from "../workbench/engine/core/measure.ts";
import { markdownTable } from "./engine/report.ts";
import type { PhaseAnswer, PhaseRequest } from "./gpt2/phase.ts";
import { runPhase, steadyRate } from "./phases.ts";

interface Options {
  blocks: number;
  width: number;
  context: number;
  batch: number;
  steps: number;
  rounds: number;
}

/** Processes, threads of each, the share of the batch that is trained, and whether the optimizer's state is divided. */
const CONTESTANTS = {
  "one process of one thread": { ranks: 1, threads: 1, share: 1, shard: false },
  "one process of two threads": { ranks: 1, threads: 2, share: 1, shard: false },
  "two processes of one thread": { ranks: 2, threads: 1, share: 1, shard: false },
  "two processes, `--shard-optimizer`": { ranks: 2, threads: 1, share: 1, shard: true },
  "half of the batch, one thread": { ranks: 1, threads: 1, share: 0.5, shard: false },
} as const;

const options = new Command("bun bench/ranks.ts")
  .description("compares training over two processes with one process")
  .option("--blocks <count>", "blocks of the model", Number, 4)
  .option("--width <width>", "width of the model", Number, 768)
  .option("--context <tokens>", "tokens of a window", Number, 256)
  .option("--batch <windows>", "windows of a step", Number, 8)
  .option("--steps <count>", "steps of each contestant in a round", Number, 4)
  .option("--rounds <count>", "times that the contestants take turns", Number, 3)
  .addHelpText("after", "\nExample:\n  bun bench/ranks.ts --blocks 12 --context 1024 --batch 2")
  .parse()
  .opts<Options>();

type Name = keyof typeof CONTESTANTS;

const seconds = new Map<Name, number[]>();
/** bytes of the largest process at its peak */
const peaks = new Map<Name, number>();
const folder = await mkdtemp(join(tmpdir(), "gblr-ranks-"));
try {
  for (let round = 0; round < options.rounds; round++) {
    for (const name of Object.keys(CONTESTANTS) as Name[]) {
      const own = seconds.get(name) ?? [];
      seconds.set(name, own);
      own.push(await secondsOf(name, join(folder, `${round}-${own.length}`)));
      process.stderr.write(`${name}: ${own.at(-1)?.toFixed(3)} s\n`);
    }
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
process.stdout.write(page());

/** Median seconds of a step. */
async function secondsOf(name: Name, scratch: string): Promise<number> {
  const { ranks, threads, share, shard } = CONTESTANTS[name];
  const { blocks, width, context, steps } = options;
  const batch = options.batch * share;
  const request: PhaseRequest = {
    phase: "train",
    structure: "dense",
    engine: { engine: "torch", threads },
    size: { width, blocks, heads: width / 64, context, vocabulary: 50_257 },
    batch,
    microBatch: options.batch / 2,
    steps,
    shard,
    folder: scratch,
  };
  const port = await freePort();
  const answers = await Promise.all(
    Array.from({ length: ranks }, (_, rank) =>
      runPhase<PhaseAnswer>([process.execPath, join(import.meta.dirname, "gpt2/phase.ts")], request, {
        OMP_NUM_THREADS: `${threads}`,
        ...(ranks > 1 && environment(rank, ranks, port)),
      }),
    ),
  );
  peaks.set(name, Math.max(...answers.map(({ peakBytes }) => peakBytes), peaks.get(name) ?? 0));
  return (batch * context) / steadyRate((answers[0] as PhaseAnswer).rates);
}

function environment(rank: number, size: number, port: number): Record<string, string> {
  const place = { RANK: rank, WORLD_SIZE: size, LOCAL_RANK: rank, LOCAL_WORLD_SIZE: size, MASTER_PORT: port };
  return {
    ...Object.fromEntries(Object.entries(place).map(([name, value]) => [name, `${value}`])),
    MASTER_ADDR: "127.0.0.1",
  };
}

function page(): string {
  const { blocks, width, context, batch, rounds, steps } = options;
  const of = (name: Name) => median(seconds.get(name) as number[]);
  const [one, , two, , half] = (Object.keys(CONTESTANTS) as Name[]).map(of) as [number, number, number, number, number];
  const parameters = 50_257 * width + context * width + 12 * blocks * width ** 2;
  const machine = inspectMachine();
  return [
    "# Training over two processes",
    "",
    `GPT-2 of ${blocks} blocks of width ${width}, ${batch} windows of ${context} tokens a step, in micro-batches of ${batch / 2};`,
    `${machine.cpu}, ${machine.cores} cores; medians of ${rounds} rounds of ${steps} steps.`,
    "",
    ...markdownTable(
      ["contestant", "seconds a step", "over one process of one thread", "peak memory of the largest process, MB"],
      (Object.keys(CONTESTANTS) as Name[]).map((name) => [
        ...[name, of(name).toFixed(3), (one / of(name)).toFixed(2)],
        ((peaks.get(name) as number) / 1e6).toFixed(0),
      ]),
    ),
    "",
    `Efficiency of two processes: ${((100 * one) / (2 * two)).toFixed(0)} %. Each step exchanges about`,
    `${((4 * parameters) / 1e6).toFixed(0)} MB of gradients; it takes ${(two - half).toFixed(3)} s longer than half of the batch alone, which is`,
    "what the exchange costs where it does not overlap with the backward pass.",
    "",
  ].join("\n");
}
