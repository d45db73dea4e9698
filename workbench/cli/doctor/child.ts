// Child process of `gblr doctor` that looks for an engine, measures one, or is one of two ranks, so that a native library
// that crashes or hangs affects only this process. It takes its task as JSON in the first argument and answers with one
// line of JSON on stdout.

import process from "node:process";
import { randomNormal, sum } from "@tensorflow/tfjs-core";
import { gpuOf, type Place } from "../../distributed/place.ts";
import { hasProcessGroups, ProcessGroup } from "../../distributed/process-group.ts";
import { loadAddon } from "../../engine/backends/torch/addon.ts";
import { inspectBlas } from "../../engine/backends/torch/blas.ts";
import { measureBandwidth, measureMatMul } from "../../engine/core/measure.ts";
import { countGpus, openEngine, probeEngine } from "../../engine/core/open.ts";
import type { EngineName, OpenEngineOptions } from "../../engine/core/types.ts";
import { oneLine } from "../shared/program.ts";
import type { Exchanged, Measured } from "./collect.ts";

/** What the child process does: look for an engine, inspect the BLAS, measure an engine, or be a rank of a group. */
export type Task =
  | { kind: "probe"; name: EngineName }
  | { kind: "blas" }
  | { kind: "measure"; options: OpenEngineOptions; quick: boolean }
  | { kind: "rank"; place: Place };

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

const EXCHANGED = 1 << 20;
const TIMES = 5;

/** Adds up an array over all ranks, several times. The sum of the result tells whether all ranks got the same one. */
async function exchange(place: Place): Promise<Exchanged> {
  // GPUs are tried where there is one for each process, or each process sees its own one only.
  const gpus = await countGpus();
  const hasGpu = process.env.CUDA_VISIBLE_DEVICES === undefined ? gpus >= place.localSize : gpus > 0;
  const { device } = await openEngine({
    engine: "torch",
    device: hasGpu ? `cuda:${gpuOf(process.env, place)}` : "cpu",
  });
  if (!hasProcessGroups()) throw new Error("this libtorch has no process groups");
  const group = await ProcessGroup.join(place, { timeout: 15, device });
  const seconds: number[] = [];
  const values = randomNormal([EXCHANGED], 0, 1, "float32", place.rank + 1);
  for (let i = 0; i < TIMES; i++) {
    await group.barrier();
    const start = performance.now();
    await group.allReduce([values]);
    seconds.push((performance.now() - start) / 1000);
  }
  await group.barrier();
  const { addon, stamp } = loadAddon();
  return {
    bytes: 4 * EXCHANGED,
    seconds: Math.min(...seconds),
    sum: (await sum(values).data())[0] as number,
    through: group.backend,
    lacksNccl: stamp.libtorch.cuda && !addon.hasNccl(),
  };
}

async function answer(task: Task): Promise<unknown> {
  try {
    if (task.kind === "probe") return { probe: await probeEngine(task.name) };
    if (task.kind === "blas") return { blas: inspectBlas() };
    if (task.kind === "rank") return { exchanged: await exchange(task.place) };
    return { measured: await measure(task.options, task.quick) };
  } catch (error) {
    return { error: oneLine(error instanceof Error ? error.message : String(error)) };
  }
}

const line = JSON.stringify(await answer(JSON.parse(process.argv[2] ?? "") as Task));
// The process exits when the line is written, because idle threads of an engine would keep it alive.
process.stdout.write(`${line}\n`, () => process.exit(0));
