// One phase of bench/memory.ts in a separate process, so that its peak memory can be measured: a JSON request on stdin,
// a JSON answer on stdout. Token ids are random with a fixed seed.

import process from "node:process";
import { text } from "node:stream/consumers";
import { type Tensor, type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import { type Allocation, type Init, planConversion } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { seededUniform } from "../../workbench/engine/core/random.ts";
import type { OpenEngineOptions } from "../../workbench/engine/core/types.ts";
import {
  forInference,
  generateTokens,
  languageHidden,
  languageNll,
  languageSizes,
  loadModel,
  type Model,
  saveModelNow,
  type WeightType,
} from "../../workbench/models/index.ts";
import { hashedCalibration } from "../../workbench/pipeline/calibration/hash.ts";
import { convertModel } from "../../workbench/pipeline/convert.ts";
import { resultOf } from "../../workbench/pipeline/stage.ts";
import { structureNamed } from "../../workbench/structures/registry.ts";
import { type PhaseReport, phaseReport } from "../phases.ts";

/** A conversion that a phase runs. */
export interface BenchConversion {
  structure: string;
  init: Init;
  allocation: Allocation;
}

export interface MemoryRequest {
  /** model folder */
  folder: string;
  dtype: WeightType;
  engine: OpenEngineOptions;
  /** windows of `context` tokens that are evaluated and calibrated on */
  windows: number;
  context: number;
  /** tokens to generate */
  tokens: number;
  phase: "load" | "evaluate" | "generate" | BenchConversion;
  budget: number;
  /** folder for a converted model */
  out: string;
}

export interface MemoryAnswer extends PhaseReport {
  /** seconds of parts of the phase */
  seconds: Record<string, number>;
  tokensPerSecond?: number;
}

const request = JSON.parse(await text(process.stdin)) as MemoryRequest;
process.stdout.write(JSON.stringify(await run(request)));

async function run({ phase, folder, dtype, engine: asked, ...how }: MemoryRequest): Promise<MemoryAnswer> {
  const engine = await openEngine(asked);
  const seconds: Record<string, number> = {};
  const timed = async <Result>(part: string, work: () => Promise<Result>): Promise<Result> => {
    const began = performance.now();
    const result = await work();
    seconds[part] = (performance.now() - began) / 1000;
    return result;
  };
  const model = await timed("load", () => loaded(folder, dtype));
  let tokens = 0;
  if (phase === "evaluate") tokens = await timed("work", () => evaluated(model, how));
  else if (phase === "generate") tokens = await generated(model, { ...how, timed });
  else if (phase !== "load") {
    await timed("work", () => convertedBy(model, phase, how));
    const { hasWidths: trainable = false } = structureNamed(phase.structure);
    await timed("save", () => saveModelNow(model, how.out, { trainable }));
  }
  const rate = tokens > 0 && { tokensPerSecond: tokens / (seconds.work as number) };
  return { ...phaseReport(engine), seconds, ...rate };
}

async function loaded(folder: string, dtype: WeightType): Promise<Model> {
  for await (const event of loadModel(folder, { dtype })) if (event.kind === "loaded") return event.model;
  throw new Error("loading ended early");
}

type Sizes = Pick<MemoryRequest, "windows" | "context">;

function idsOf(model: Model, window: number, length: number): Tensor2D {
  const { vocabulary } = languageSizes(model);
  const uniform = seededUniform(window);
  return tensor2d(
    Int32Array.from({ length }, () => Math.floor(uniform() * vocabulary)),
    [1, length],
    "int32",
  );
}

async function evaluated(model: Model, { windows, context }: Sizes): Promise<number> {
  for (let window = 0; window < windows; window++) {
    const ids = idsOf(model, window, context + 1);
    const nll = languageNll(model, ids);
    if (!(await nll.data()).every(Number.isFinite)) throw new Error("the loss is not finite");
    ids.dispose();
    nll.dispose();
  }
  return windows * context;
}

type Timed = <Result>(part: string, work: () => Promise<Result>) => Promise<Result>;

async function generated(model: Model, { tokens, timed }: { tokens: number; timed: Timed }): Promise<number> {
  const view = await forInference(model, { rows: "few" });
  const events = generateTokens(view, [1, 2, 3, 4], { tokens: tokens + 1, temperature: 0, endOfText: [] });
  // The first token is that of the prompt.
  await events.next();
  await timed("work", async () => {
    for await (const _ of events);
  });
  view.dispose();
  return tokens;
}

async function convertedBy(
  model: Model,
  { structure, init, allocation }: BenchConversion,
  { windows, context, budget }: Sizes & { budget: number },
): Promise<void> {
  const calibration = hashedCalibration({
    inputs: async function* (): AsyncGenerator<Tensor> {
      for (let window = 0; window < windows; window++) yield idsOf(model, window, context);
    },
    forward: (of: Model, ids: Tensor) => languageHidden(of, ids as Tensor2D),
    total: windows,
    unit: "windows" as const,
  });
  await resultOf(
    convertModel(model, {
      plan: (request) => planConversion(model, { structure, budget, ...request }),
      ...{ init, allocation, seed: 0, searchSteps: 1, signal: new AbortController().signal },
      ...(init === "activation" && { calibration }),
    }),
    (event) => {
      if (event.kind !== "inner" || event.of !== "convert" || event.event.kind !== "replaced") return;
      const { name, error, seconds } = event.event.layer;
      process.stderr.write(`  ${name}: error ${error.toFixed(4)}, ${seconds.toFixed(1)} s\n`);
    },
  );
}
