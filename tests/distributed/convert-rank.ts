// One process of tests/distributed/conversion.test.ts: converts a small model, alone or as a rank. See reply.ts.

import process from "node:process";
import * as tf from "@tensorflow/tfjs-core";
import { isDense } from "../../hub/model-folder/index.ts";
import { FinishedLayers, planConversion, windowInputs } from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/index.ts";
import { architectureOf, createModel, languageHidden, type Model } from "../../workbench/models/index.ts";
import { hashedCalibration } from "../../workbench/pipeline/calibration/hash.ts";
import { type ConvertStageOptions, convertModel } from "../../workbench/pipeline/convert.ts";
import { SIZES } from "../architectures/llama/families.ts";
import { TINY, tinyModel } from "../compress/tiny.ts";
import { sampleIds } from "../engine/ops/operands.ts";
import { numbersOf } from "../train/small.ts";
import { join, reply } from "./reply.ts";

export interface ConvertTask {
  /** for finished layers */
  folder: string;
  /** Default: one of GPT-2, of whose layers no two have the same inputs */
  model?: "llama";
  structure: string;
  ways: Pick<ConvertStageOptions, "init" | "allocation" | "sequential" | "calibrationBytes">;
  /** Default: with calibration data */
  uncalibrated?: boolean;
  /** a rank that is killed when it begins its second layer */
  killed?: number;
}

export interface ConvertAnswer {
  numbers: Record<string, number[]>;
  /** by name; in times, which differ, there is nothing to compare */
  errors: Record<string, number | undefined>;
  /** names of the layers that stay dense */
  dense: string[];
  /** names of the layers that this process has converted, and of those it has found on disk at its start */
  own: string[];
  found: string[];
  /** number of the calibrations, one for each group of layers */
  groups: number;
}

const COUNT = 32;
const WINDOWS = {
  length: COUNT,
  context: TINY.n_positions,
  read: async (i: number) => sampleIds(60 + i, TINY.n_positions + 1, TINY.vocab_size),
};

/** Narrow, as the search for blocks takes most of the time. */
const smallGpt2 = () => tinyModel(3, { n_embd: 12 }) as Model;
const [LAYERS, HEADS] = [{ num_hidden_layers: 2 }, { num_attention_heads: 2, num_key_value_heads: 1 }];
const NARROW = { ...SIZES, ...LAYERS, ...HEADS, hidden_size: 12, intermediate_size: 16, vocab_size: TINY.vocab_size };

/** Its weights are larger than those of an initialization, which change the residual stream too little. */
function smallLlama(): Model {
  const model = createModel(architectureOf("llama"), { ...NARROW, model_type: "llama" });
  for (const [name, weight] of model.parameters) {
    if (name.includes("_proj")) tf.tidy(() => weight.assign(tf.mul(weight, 8)));
  }
  return model as Model;
}

async function answerTo(task: ConvertTask): Promise<ConvertAnswer> {
  const { folder, model: kind, structure, ways, uncalibrated, killed } = task;
  await openEngine({ engine: "torch", threads: 1 });
  const ranks = await join(60);
  const model = kind === "llama" ? smallLlama() : smallGpt2();
  const calibration = hashedCalibration({
    inputs: () => windowInputs(WINDOWS, { samples: COUNT, batch: 8 }),
    forward: (stepped: Model, ids: tf.Tensor) => languageHidden(stepped, ids as tf.Tensor2D),
    total: COUNT,
    unit: "windows" as const,
  });
  const work = convertModel(model, {
    // The others plan otherwise, as other processors may, and follow the plan of the first one.
    plan: (request) => planConversion(model, { structure, budget: ranks && ranks.rank > 0 ? 0.7 : 0.6, ...request }),
    ...{ seed: 1, searchSteps: 30, calibration: uncalibrated ? undefined : calibration, ...ways },
    finished: new FinishedLayers(folder, "test"),
    ranks,
    signal: new AbortController().signal,
  });
  const [own, found]: [string[], string[]] = [[], []];
  let groups = 0;
  for (;;) {
    const { value, done } = await work.next();
    if (done) {
      const { layers } = value.conversion;
      const errors = Object.fromEntries(layers.map((layer) => [layer.name, layer.outputError]));
      const dense = layers.filter(({ structure: name }) => isDense(name)).map(({ name }) => name);
      return { numbers: await numbersOf(model), errors, dense, own, found, groups };
    }
    if (value.kind !== "inner") continue;
    if (value.of === "calibrate" && value.event.kind === "calibrated") groups++;
    if (value.of !== "convert") continue;
    const { event } = value;
    if (event.kind === "layer") own.push(event.name);
    if (event.kind === "restored") found.push(event.layer.name);
    if (own.length === 2 && ranks?.rank === killed && killed !== undefined) process.kill(process.pid, "SIGKILL");
  }
}

await reply(answerTo);
