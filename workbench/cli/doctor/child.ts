// Child process of `gblr doctor` that looks for an engine or measures one, so that a native library that crashes or
// hangs affects only this process. It takes its task as JSON in the first argument and answers with one line of JSON on
// stdout.

import process from "node:process";
import { inspectBlas } from "../../engine/backends/torch/blas.ts";
import { measureBandwidth, measureMatMul } from "../../engine/core/measure.ts";
import { openEngine, probeEngine } from "../../engine/core/open.ts";
import type { EngineName, OpenEngineOptions } from "../../engine/core/types.ts";
import { oneLine } from "../shared/program.ts";
import type { Measured } from "./collect.ts";

/** What the child process does: look for an engine, inspect the BLAS, or measure an engine. */
export type Task =
  | { kind: "probe"; name: EngineName }
  | { kind: "blas" }
  | { kind: "measure"; options: OpenEngineOptions; quick: boolean };

const FULL = { matMul: { size: 1024 }, elementwise: { size: 1 << 24 } };
const QUICK = { matMul: { size: 512, budget: 0.3 }, elementwise: { size: 1 << 23, budget: 0.3 } };

async function measure(options: OpenEngineOptions, quick: boolean): Promise<Measured> {
  const engine = await openEngine(options);
  const settings = quick ? QUICK : FULL;
  return {
    engine: engine.name,
    device: engine.device,
    precision: engine.precision,
    threads: engine.threads,
    why: engine.why,
    matMul: await measureMatMul(engine, settings.matMul),
    elementwise: await measureBandwidth(engine, settings.elementwise),
  };
}

async function answer(task: Task): Promise<unknown> {
  try {
    if (task.kind === "probe") return { probe: await probeEngine(task.name) };
    if (task.kind === "blas") return { blas: inspectBlas() };
    return { measured: await measure(task.options, task.quick) };
  } catch (error) {
    return { error: oneLine(error instanceof Error ? error.message : String(error)) };
  }
}

const line = JSON.stringify(await answer(JSON.parse(process.argv[2] ?? "") as Task));
// The process exits when the line is written, because idle threads of an engine would keep it alive.
process.stdout.write(`${line}\n`, () => process.exit(0));
