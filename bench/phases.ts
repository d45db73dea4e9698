// Shared by the benches of whole models. Each phase is a separate process, so that its peak memory can be measured; it
// reads a JSON request from stdin and prints a JSON answer as its last line.

import { spawn } from "node:child_process";
import process from "node:process";
import { convert, planConversion } from "../workbench/compress/index.ts";
import type { ProcessGroup } from "../workbench/distributed/process-group.ts";
import type { Engine, GpuMemory } from "../workbench/engine/core/types.ts";
import { meanShrink } from "../workbench/gblr/shrink/index.ts";
import type { Model } from "../workbench/models/index.ts";
import { fit, type Task } from "../workbench/train/index.ts";
import { installFound } from "./layers/install.ts";

/** `found`: GBLR with spans like those that searches found, of about 44 or 25 % of the FLOPs. */
export type BenchStructure = "dense" | "gblr" | "lowrank" | "found-44" | "found-25";

/** The results of a phase. */
export interface PhaseReport {
  engine: string;
  device: string;
  /** peak memory of the process, bytes */
  peakBytes: number;
  /** bytes of the engine: host memory in tensors, and memory on the GPU */
  memory: { gpu?: GpuMemory };
}

export interface TrainingRates {
  /** items per second, for each step */
  rates: number[];
  losses: number[];
}

interface TrainingSettings {
  model: Model;
  task: Task;
  batch: number;
  microBatch: number;
  steps: number;
  /** a scratch folder */
  folder: string;
  /** the processes of the training. Default: one */
  ranks?: ProcessGroup | undefined;
  /** whether they divide the optimizer's state. Default false */
  shard?: boolean;
  /** mean width to which blocks shrink. Default 0.25 */
  target?: number;
}

/**
 * Runs a phase, with some environment variables besides those of this process. The peak memory of a process, as the system counts it, begins with that of the process that starts it; a
 * shell in between has almost none.
 * @throws Error when the process fails or prints no JSON
 */
export async function runPhase<Answer>(
  argv: [string, ...string[]],
  request: object,
  env: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const [program, ...rest] = argv;
  const output = await new Promise<string>((resolve, reject) => {
    const child = spawn("sh", ["-c", '"$@"; exit $?', "sh", program, ...rest], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...env },
    });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve(text);
      else reject(new Error(`${program} ended with ${signal ?? `exit code ${code}`}`));
    });
    // A phase may end without reading its request; how it ended is told by "close".
    child.stdin.on("error", () => {}).end(JSON.stringify(request));
  });
  return JSON.parse(output.trim().split("\n").at(-1) ?? "") as Answer;
}

export function phaseReport(engine: Engine): PhaseReport {
  return {
    engine: `${engine.name}, ${engine.version}`,
    device: engine.device,
    peakBytes: process.resourceUsage().maxRSS * 1024,
    memory: engine.memory() as PhaseReport["memory"],
  };
}

/** The most bytes that a phase held: in tensors on the GPU if there is one, else the peak of the process. */
export function heldBytes({ peakBytes, memory: { gpu } }: PhaseReport): number {
  return gpu ? (gpu.peak ?? gpu.total - gpu.available) : peakBytes;
}

/**
 * Compresses a model in place, to about 44 % of the dense multiply-adds unless its name says otherwise; leaves a dense
 * model as it is.
 * @returns relative FLOPs (reference), and the seconds of the conversion
 */
export async function converted<Config>(
  model: Model<Config>,
  structure: BenchStructure,
): Promise<{ relativeFlops: number; convertSeconds: number }> {
  if (structure === "dense") return { relativeFlops: 1, convertSeconds: 0 };
  if (structure === "found-44" || structure === "found-25") {
    const flops = structure === "found-44" ? 0.4375 : 0.25;
    return { relativeFlops: await installFound(model, flops), convertSeconds: 0 };
  }
  const began = performance.now();
  const asked = structure === "gblr" ? { widths: "lr0.25" } : { flops: 0.4375 };
  const plan = await planConversion(model, { structure, ...asked });
  for await (const _ of convert(model, plan)) {
    // Only the last event matters.
  }
  return {
    relativeFlops: plan.counts.after.reference.relative,
    convertSeconds: (performance.now() - began) / 1000,
  };
}

/** Some steps of AdamW, without evaluations and without the checkpoint at the end, which would take a gigabyte. */
export async function trained(settings: TrainingSettings): Promise<TrainingRates> {
  const [rates, losses]: [number[], number[]] = [[], []];
  const { steps, shard = false, target = 0.25, ...rest } = settings;
  const far = { steps: 10 ** 6 };
  const run = fit({
    ...rest,
    length: { steps },
    optimizer: { learningRate: 1e-4, weightDecay: 0.1, clipNorm: 1, shard },
    seed: 1,
    shrink: meanShrink({ target }),
    evaluation: { every: far, first: false, run: async () => ({}) },
    checkpoint: { every: far, seconds: 10 ** 9 },
  });
  for await (const event of run) {
    if (event.kind !== "step") continue;
    rates.push(event.rate);
    losses.push(event.loss);
    if (event.step === steps) break;
  }
  return { rates, losses };
}

/** The median of all steps but the first, which also allocates memory; or the value of the only step. */
export function steadyRate(rates: readonly number[]): number {
  const sorted = (rates.length > 1 ? rates.slice(1) : [...rates]).sort((a, b) => a - b);
  return ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2;
}

export function progress(step: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${step}`);
}
