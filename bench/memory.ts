// `bun bench/memory.ts`: the peak memory of loading, evaluating, generating with and converting a model of 1.5 billion
// parameters with random weights, each in a process of its own, with weights in float32 and in half precision.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { Command, Option } from "commander";
import { formatBytes } from "../hub/text/numbers.ts";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { countFrom, share } from "../workbench/cli/shared/options.ts";
import { WEIGHT_TYPES, type WeightType } from "../workbench/models/index.ts";
import type { BenchConversion, MemoryAnswer, MemoryRequest } from "./memory/phase.ts";
import { writeRandomModel } from "./memory/random-model.ts";
import { progress, runPhase } from "./phases.ts";

const QWEN2 = {
  model_type: "qwen2",
  hidden_act: "silu",
  max_position_embeddings: 32768,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  tie_word_embeddings: true,
};
/** Configs by name: the sizes of Qwen2, and one for trying this bench. */
const SIZES: Record<string, object> = {
  "1.5b": {
    ...{ hidden_size: 1536, intermediate_size: 8960, vocab_size: 151936 },
    ...{ num_hidden_layers: 28, num_attention_heads: 12 },
  },
  "0.5b": {
    ...{ hidden_size: 896, intermediate_size: 4864, vocab_size: 151936 },
    ...{ num_hidden_layers: 24, num_attention_heads: 14 },
  },
  tiny: {
    ...{ hidden_size: 64, intermediate_size: 176, vocab_size: 1000 },
    ...{ num_hidden_layers: 2, num_attention_heads: 4 },
  },
};

const CONVERSIONS: Record<string, BenchConversion> = {
  lowrank: { structure: "lowrank", init: "svd", allocation: "uniform" },
  "lowrank-global": { structure: "lowrank", init: "svd", allocation: "global" },
  "lowrank-activation": { structure: "lowrank", init: "activation", allocation: "uniform" },
  "lowrank-activation-global": { structure: "lowrank", init: "activation", allocation: "global" },
  gblr: { structure: "gblr", init: "svd", allocation: "uniform" },
  "gblr-activation": { structure: "gblr", init: "activation", allocation: "uniform" },
};

const PHASES = ["load", "evaluate", "generate", "convert"] as const;

interface Options {
  size: string;
  dtype: WeightType[];
  convert: string[];
  engine: "torch" | "wasm";
  threads: number;
  windows: number;
  context: number;
  tokens: number;
  budget: number;
  phases: (typeof PHASES)[number][];
  blocks?: number;
  folder?: string;
  out?: string;
}

const command = new Command("bun bench/memory.ts")
  .description("peak memory of a model with random weights: loaded, evaluated, generating, converted")
  .addOption(new Option("--size <name>", "of Qwen2").choices(Object.keys(SIZES)).default("1.5b"))
  .addOption(
    new Option("--dtype <types...>", "of weights in memory").choices(WEIGHT_TYPES).default(["float32", "bfloat16"]),
  )
  .addOption(
    new Option("--convert <names...>", "conversions")
      .choices(Object.keys(CONVERSIONS))
      .default(["lowrank", "gblr-activation"]),
  )
  .addOption(new Option("--engine <name>").choices(["torch", "wasm"]).default("torch"))
  .option("--threads <count>", "CPU threads", countFrom(1), os.availableParallelism())
  .option("--windows <count>", "windows to evaluate and to calibrate on", countFrom(1), 4)
  .option("--context <tokens>", "of a window", countFrom(1), 512)
  .option("--tokens <count>", "to generate", countFrom(1), 24)
  .option("--budget <share>", "of the converted layers' multiply-adds", share, 0.35)
  .addOption(new Option("--phases <names...>").choices(PHASES).default(PHASES))
  .option("--blocks <count>", "of the model (default: those of its size)", countFrom(1))
  .option("--folder <folder>", "for the model, several times its size (default: a temporary folder)")
  .option("--out <file>", "also write the table here")
  .parse();
const options = command.opts<Options>();

interface Row {
  name: string;
  dtype: WeightType;
  answer: MemoryAnswer;
}

const scratch = await mkdtemp(path.join(options.folder ?? os.tmpdir(), "gblr-memory-"));
const rows: Row[] = [];
let parameters = 0;
const started = new Date();
try {
  progress("writing the model");
  const folder = path.join(scratch, "model");
  const blocks = options.blocks !== undefined && { num_hidden_layers: options.blocks };
  parameters = await writeRandomModel(folder, { ...QWEN2, ...SIZES[options.size], ...blocks }, "BF16");
  for (const phase of options.phases.flatMap((name) => (name === "convert" ? options.convert : [name]))) {
    for (const dtype of options.dtype) await measure(phase, { folder, dtype });
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
}
const report = markdown();
process.stdout.write(`${report}\n`);
if (options.out) await writeFile(options.out, `${report}\n`);

async function measure(phase: string, { folder, dtype }: { folder: string; dtype: WeightType }): Promise<void> {
  const conversion = CONVERSIONS[phase];
  const name = conversion ? `convert, ${phase}` : phase;
  progress(`${name}, ${dtype}`);
  const { engine, threads, windows, context, tokens, budget } = options;
  const out = path.join(scratch, "converted");
  const request: MemoryRequest = {
    ...{ folder, dtype, engine: { engine, device: "cpu", threads }, windows, context, tokens, budget, out },
    phase: conversion ?? (phase as "load" | "evaluate" | "generate"),
  };
  const file = path.join(import.meta.dirname, "memory/phase.ts");
  const answer = await runPhase<MemoryAnswer>([process.execPath, file], request);
  const seconds = Object.entries(answer.seconds).map(([part, value]) => `${part} ${value.toFixed(1)} s`);
  process.stderr.write(`${name}, ${dtype}: ${formatBytes(answer.peakBytes)}, ${seconds.join(", ")}\n`);
  rows.push({ name, dtype, answer });
  await rm(out, { recursive: true, force: true });
}

function markdown(): string {
  const machine = inspectMachine();
  const [first] = rows;
  const line = ({ name, dtype, answer }: Row) => {
    const { load, work, save } = answer.seconds;
    const part = (value?: number) => (value === undefined ? "" : `${value.toFixed(1)} s`);
    const rate = answer.tokensPerSecond?.toPrecision(3) ?? "";
    return [name, dtype, formatBytes(answer.peakBytes), part(load), part(work), part(save), rate].join(" | ");
  };
  return [
    `# Memory of a model with ${(parameters / 1e9).toFixed(2)} billion random parameters`,
    "",
    `${started.toISOString().slice(0, 10)}, ${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memory)} of memory, ${machine.system}.`,
    `${first?.answer.engine ?? ""} on ${first?.answer.device ?? ""}, ${options.threads} threads. Qwen2's sizes, tied embeddings, BF16 files.`,
    "",
    "| what | weights in memory | peak memory | loading | work | saving | tokens/s |",
    "| :-- | :-- | --: | --: | --: | --: | --: |",
    ...rows.map((row) => `| ${line(row)} |`),
    "",
    `Peak memory is the process's resident set, runtime and libraries included. Evaluation: ${options.windows} windows of ${options.context}`,
    `tokens. Conversion: every linear layer of the blocks, budget ${options.budget}; with activation, the same windows are`,
    "calibrated on. Structured layers are float32 in memory and in files.",
    "",
    "```sh",
    `bun bench/memory.ts ${process.argv.slice(2).join(" ")}`.trim(),
    "```",
  ].join("\n");
}
