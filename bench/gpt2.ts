// `bun bench/gpt2.ts`: GPT-2 at full size with random weights: conversion, evaluation and some training steps, dense
// and compressed, compared with PyTorch on the same device in the same run. Each phase is a separate process
// (gpt2/phase.ts).

import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { Command, Option } from "commander";
import { formatBytes } from "../hub/text/numbers.ts";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { countFrom } from "../workbench/cli/shared/options.ts";
import { ENGINE_NAMES, PRECISIONS } from "../workbench/engine/core/types.ts";
import type { PhaseAnswer, PhaseRequest } from "./gpt2/phase.ts";
import { heldBytes, progress, runPhase, steadyRate } from "./phases.ts";

const SIZES = {
  mini: { width: 192, blocks: 6, heads: 6 },
  small: { width: 768, blocks: 12, heads: 12 },
  medium: { width: 1024, blocks: 24, heads: 16 },
};

interface Options {
  size: keyof typeof SIZES;
  engine: (typeof ENGINE_NAMES)[number] | "auto";
  device?: string;
  precision: (typeof PRECISIONS)[number];
  threads: number;
  context: number;
  batch: number;
  microBatch: number;
  steps: number;
  sigma?: number;
  only?: string;
  python: string;
  compiled?: boolean;
  json?: boolean;
}

const command = new Command("bun bench/gpt2.ts")
  .description("GPT-2 with random weights: tokens per second and memory, dense and compressed, compared with PyTorch")
  .addOption(new Option("--size <name>").choices(Object.keys(SIZES)).default("small"))
  .addOption(new Option("--engine <name>").choices(["auto", ...ENGINE_NAMES]).default("auto"))
  .option("--device <device>", "cpu, cuda")
  .addOption(new Option("--precision <precision>").choices(PRECISIONS).default("float32"))
  .option("--threads <count>", "CPU threads", countFrom(1), os.availableParallelism())
  .option("--context <tokens>", "of a window", countFrom(1), 1024)
  .option("--batch <windows>", "of a step", countFrom(1), 4)
  .option("--micro-batch <windows>", "of a forward pass", countFrom(1), 4)
  .option("--steps <count>", "of training, each contestant", countFrom(2), 10)
  .option("--sigma <sigma>", "of the masks of GBLR layers (default: sharp masks)", Number)
  .option("--only <text>", "rows whose name contains this")
  .option("--python <path>", "the Python whose PyTorch runs", "/usr/bin/python3")
  .option("--compiled", "PyTorch also with torch.compile, which takes about a minute")
  .option("--json", "one JSON document on stdout")
  .addHelpText("after", "\nExample:\n  bun bench/gpt2.ts --steps 10 --batch 4")
  .parse();

interface Row {
  name: string;
  relativeFlops?: number;
  convertSeconds?: number;
  /** median of all but the first step */
  tokensPerSecond: number;
  peakBytes: number;
  detail: unknown;
}

const options = command.opts<Options>();
const size = { ...SIZES[options.size], context: options.context, vocabulary: 50257 };
const scratch = await mkdtemp(path.join(os.tmpdir(), "gblr-bench-"));
const rows: Row[] = [];
try {
  for (const phase of ["evaluate", "train"] as const) {
    for (const structure of ["dense", "gblr", "found-44", "found-25", "lowrank"] as const) await ours(phase, structure);
    if (phase !== "train") continue;
    await pytorch("train, PyTorch dense");
    if (options.compiled) await pytorch("train, PyTorch compiled");
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
}
const report = { date: new Date().toISOString(), machine: inspectMachine(), options, rows };
process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : markdown()}\n`);

async function ours(phase: PhaseRequest["phase"], structure: PhaseRequest["structure"]): Promise<void> {
  const name = `${phase}, ${structure}`;
  if (!name.includes(options.only ?? "")) return;
  const { engine, device, precision, threads, batch, microBatch, steps, sigma } = options;
  const asked = { engine, precision, threads, ...(device !== undefined && { device }) };
  const folder = await mkdtemp(path.join(scratch, "phase-"));
  const request: PhaseRequest = {
    phase,
    structure,
    engine: asked,
    size,
    batch,
    microBatch,
    steps,
    folder,
    ...(sigma && { sigma }),
  };
  progress(name);
  const file = path.join(import.meta.dirname, "gpt2/phase.ts");
  const answer = await runPhase<PhaseAnswer>([process.execPath, file], request);
  const { relativeFlops, convertSeconds, rates } = answer;
  const tokensPerSecond = steadyRate(rates);
  rows.push({ name, relativeFlops, convertSeconds, tokensPerSecond, peakBytes: heldBytes(answer), detail: answer });
}

async function pytorch(name: string): Promise<void> {
  if (!name.includes(options.only ?? "")) return;
  const { device = "cpu", precision, threads, batch, steps, python } = options;
  progress(name);
  const where = { device: device === "gpu" ? "cuda" : device, precision, threads };
  const asked = { phase: "train", ...size, batch, steps, ...where, compiled: name.endsWith("compiled") };
  const file = path.join(import.meta.dirname, "gpt2/pytorch.py");
  try {
    const answer = await runPhase<{ seconds: number[]; peakBytes: number }>([python, file], asked);
    const rates = answer.seconds.map((seconds) => (batch * size.context) / seconds);
    rows.push({
      name,
      relativeFlops: 1,
      tokensPerSecond: steadyRate(rates),
      peakBytes: answer.peakBytes,
      detail: answer,
    });
  } catch (error) {
    process.stderr.write(`${name}: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}

function markdown(): string {
  const { machine } = report;
  const { size: name, batch, microBatch, context, steps, precision, threads } = options;
  const peer = (phase: string) =>
    rows.find((row) => row.name === (phase === "train" ? "train, PyTorch dense" : "evaluate, dense"));
  const line = (row: Row) => {
    const other = peer(row.name.split(",")[0] as string)?.tokensPerSecond;
    return [
      row.name,
      row.relativeFlops === undefined ? "" : `${(100 * row.relativeFlops).toFixed(2)} %`,
      row.convertSeconds ? `${row.convertSeconds.toFixed(1)} s` : "",
      row.tokensPerSecond.toFixed(0),
      other === undefined ? "" : (row.tokensPerSecond / other).toFixed(2),
      formatBytes(row.peakBytes),
    ].join(" | ");
  };
  const [first] = rows.map(({ detail }) => detail as { engine?: string; device?: string });
  return [
    `# GPT-2 ${name} with random weights`,
    "",
    `${report.date.slice(0, 10)}, ${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memory)} of memory, ${machine.system}.`,
    `${first?.engine ?? ""} on ${first?.device ?? ""}, ${precision}, ${threads} threads. Batches of ${batch} × ${context} tokens, ` +
      `${microBatch} windows a forward pass, ${steps} steps, no dropout.`,
    "",
    "| what | FLOPs as the reference counts | converting | tokens/s | ratio | peak memory |",
    "| :-- | --: | --: | --: | --: | --: |",
    ...rows.map((row) => `| ${line(row)} |`),
    "",
    "Tokens/s are the median of all steps but the first. Ratios are to PyTorch in training, to our dense model in evaluation.",
    "Peak memory is the process's resident set, or what the GPU holds.",
    "",
    "```sh",
    `bun bench/gpt2.ts ${process.argv.slice(2).join(" ")}`.trim(),
    "```",
  ].join("\n");
}
