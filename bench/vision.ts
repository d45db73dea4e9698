// `bun bench/vision.ts`: a ViT or ResNet at full size with random weights: conversion, evaluation and some training
// steps, dense and compressed, compared with PyTorch on the same device in the same run. With a folder of images it
// also trains from files, which shows whether preparing them slows the training down.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { Command, Option } from "commander";
import { formatBytes } from "../hub/text/numbers.ts";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { countFrom } from "../workbench/cli/shared/options.ts";
import { ENGINE_NAMES, PRECISIONS } from "../workbench/engine/core/types.ts";
import { type BenchStructure, heldBytes, progress, runPhase, steadyRate } from "./phases.ts";
import type { PhaseAnswer, PhaseRequest } from "./vision/phase.ts";

const NAMES = ["vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "resnet18", "resnet34"];
const STRUCTURES: readonly BenchStructure[] = ["dense", "gblr", "lowrank"];

interface Options {
  model: string;
  engine: (typeof ENGINE_NAMES)[number] | "auto";
  device?: string;
  precision: (typeof PRECISIONS)[number];
  threads: number;
  batch: number;
  microBatch?: number;
  steps: number;
  images?: string;
  split: string;
  only?: string;
  python: string;
  json?: boolean;
  out?: string;
}

const command = new Command("bun bench/vision.ts")
  .description(
    "a ViT or ResNet with random weights: images per second and memory, dense and compressed, compared with PyTorch",
  )
  .addOption(new Option("--model <name>", "timm's name").choices(NAMES).default("vit_base_patch16_224"))
  .addOption(new Option("--engine <name>").choices(["auto", ...ENGINE_NAMES]).default("auto"))
  .option("--device <device>", "cpu, cuda")
  .addOption(new Option("--precision <precision>").choices(PRECISIONS).default("float32"))
  .option("--threads <count>", "CPU threads", countFrom(1), os.availableParallelism())
  .option("--batch <images>", "of a step", countFrom(1), 16)
  .option("--micro-batch <images>", "of a forward pass in training (default: the batch)", countFrom(1))
  .option("--steps <count>", "of each contestant", countFrom(2), 10)
  .option("--images <folder>", "a data set to train from as well, decoded and augmented by threads")
  .option("--split <name>", "of it", "train")
  .option("--only <text>", "rows whose name contains this")
  .option("--python <path>", "the Python whose PyTorch runs", "/usr/bin/python3")
  .option("--json", "one JSON document on stdout")
  .option("--out <file>", "also write the table here")
  .addHelpText(
    "after",
    "\nExample:\n  bun bench/vision.ts --model resnet18 --images datasets/imagenet-sample --split validation",
  )
  .parse();

interface Row {
  phase: PhaseRequest["phase"];
  name: string;
  relativeFlops?: number;
  convertSeconds?: number;
  imagesPerSecond: number;
  heldBytes: number;
  detail: object;
}

const options = command.opts<Options>();
const microBatch = options.microBatch ?? options.batch;
const scratch = await mkdtemp(path.join(os.tmpdir(), "gblr-bench-"));
const rows: Row[] = [];
try {
  for (const phase of ["evaluate", "train"] as const) {
    for (const structure of STRUCTURES) await ours(phase, structure);
    if (phase === "train" && options.images !== undefined) await ours(phase, "dense", options.images);
    await pytorch(phase);
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
}
const report = { date: new Date().toISOString(), machine: inspectMachine(), options, rows };
process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : markdown()}\n`);
if (options.out !== undefined) {
  await mkdir(path.dirname(options.out), { recursive: true });
  await writeFile(options.out, `${markdown()}\n`);
}

async function ours(phase: Row["phase"], structure: BenchStructure, dataset?: string): Promise<void> {
  const name = `${phase}, ${structure}${dataset === undefined ? "" : " from files"}`;
  if (!name.includes(options.only ?? "")) return;
  progress(name);
  const { engine, device, precision, threads, model, batch, steps, split } = options;
  const folder = await mkdtemp(path.join(scratch, "phase-"));
  const request: PhaseRequest = {
    phase,
    structure,
    engine: { engine, precision, threads, ...(device !== undefined && { device }) },
    name: model,
    batch,
    microBatch,
    steps,
    folder,
    ...(dataset !== undefined && { data: { dataset, split } }),
  };
  const file = path.join(import.meta.dirname, "vision/phase.ts");
  const answer = await runPhase<PhaseAnswer>([process.execPath, file], request);
  const { relativeFlops, convertSeconds, rates } = answer;
  const imagesPerSecond = steadyRate(rates);
  rows.push({
    phase,
    name,
    relativeFlops,
    convertSeconds,
    imagesPerSecond,
    heldBytes: heldBytes(answer),
    detail: answer,
  });
}

async function pytorch(phase: Row["phase"]): Promise<void> {
  const name = `${phase}, PyTorch dense`;
  if (!name.includes(options.only ?? "")) return;
  progress(name);
  const { device = "cpu", precision, threads, batch, steps, python, model } = options;
  const asked = { name: model, phase, batch, steps, device: device === "gpu" ? "cuda" : device, precision, threads };
  try {
    const file = path.join(import.meta.dirname, "vision/pytorch.py");
    const answer = await runPhase<{ seconds: number[]; peakBytes: number }>([python, file], asked);
    const imagesPerSecond = steadyRate(answer.seconds.map((seconds) => batch / seconds));
    rows.push({ phase, name, relativeFlops: 1, imagesPerSecond, heldBytes: answer.peakBytes, detail: answer });
  } catch (error) {
    process.stderr.write(`${name}: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}

function markdown(): string {
  const { machine } = report;
  const { model, batch, steps, precision, threads } = options;
  const line = (row: Row) => {
    const peer = rows.find(({ name }) => name === `${row.phase}, PyTorch dense`)?.imagesPerSecond;
    return [
      row.name,
      row.relativeFlops === undefined ? "" : `${(100 * row.relativeFlops).toFixed(2)} %`,
      row.convertSeconds ? `${row.convertSeconds.toFixed(1)} s` : "",
      row.imagesPerSecond.toFixed(row.imagesPerSecond < 100 ? 2 : 0),
      peer === undefined ? "" : (row.imagesPerSecond / peer).toFixed(2),
      formatBytes(row.heldBytes),
    ].join(" | ");
  };
  const { out } = options;
  const asked = process.argv.slice(2).filter((word) => word !== "--out" && word !== out);
  const [first] = rows.map(({ detail }) => detail as { engine?: string; device?: string });
  return [
    `# ${model} with random weights`,
    "",
    `${report.date.slice(0, 10)}, ${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memory)} of memory, ${machine.system}.`,
    `${first?.engine ?? ""} on ${first?.device ?? ""}, ${precision}, ${threads} threads. Batches of ${batch} images, ` +
      `${microBatch} a forward pass in training, ${steps} steps.`,
    "",
    "| what | FLOPs as the reference counts | converting | images/s | to PyTorch | peak memory |",
    "| :-- | --: | --: | --: | --: | --: |",
    ...rows.map((row) => `| ${line(row)} |`),
    "",
    "Images/s: in training the median of all steps but the first, in our evaluation all batches after a first one. Images are",
    "noise in memory but where they come from files: decoded, cropped, RandAugment, erasing, in threads of the same machine.",
    "Peak memory is the process's resident set, or what the GPU holds.",
    "",
    "```sh",
    `bun bench/vision.ts ${asked.join(" ")}`.trim(),
    "```",
  ].join("\n");
}
