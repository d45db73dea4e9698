// One process of tests/distributed/calibration.test.ts: calibrates a small model, alone or as a rank. See reply.ts.

import * as tf from "@tensorflow/tfjs-core";
import {
  calibrate,
  inputPowers,
  SequentialCalibration,
  type SequentialProgress,
  sensitivities,
} from "../../workbench/compress/index.ts";
import type { Sharing } from "../../workbench/distributed/shares.ts";
import { openEngine } from "../../workbench/engine/index.ts";
import { classifierLogits, denseWeight, languageHidden, type Model } from "../../workbench/models/index.ts";
import { smallVit, someImages } from "../architectures/small-vision.ts";
import { tinyModel, tokens } from "../compress/tiny.ts";
import { join, reply } from "./reply.ts";

export interface CalibrateTask {
  model: "gpt2" | "vit";
  /** number of inputs of the model */
  count: number;
  /** a rank whose signal is aborted after its first input */
  stopped?: number;
}

/** Numbers by what they are of, such as `covariance h.0.mlp.c_fc`, and the inputs of the model that this process has run. */
export interface CalibrateAnswer {
  numbers: Record<string, number[]>;
  passes: number;
}

async function answerTo({ model: kind, count, stopped }: CalibrateTask): Promise<CalibrateAnswer> {
  await openEngine({ engine: "torch", threads: 1 });
  const ranks = await join(60);
  const stop = new AbortController();
  const sharing: Sharing = { ranks, signal: stop.signal };
  const model = (kind === "gpt2" ? tinyModel() : smallVit()) as Model;
  const layers = [...model.layers.keys()];
  let passes = 0;
  const forward = (of: Model, input: tf.Tensor): tf.Tensor => {
    passes++;
    if (stopped !== undefined && ranks?.rank === stopped) stop.abort();
    return kind === "gpt2" ? languageHidden(of, input as tf.Tensor2D) : classifierLogits(of, input as tf.Tensor4D);
  };
  // Inputs of different sizes, so that shares have different weights.
  const inputs = async function* (): AsyncGenerator<tf.Tensor> {
    for (let i = 0; i < count; i++) yield kind === "gpt2" ? tokens(i, 1 + (i % 3)) : someImages(1 + (i % 3), 16);
  };
  const numbers: Record<string, number[]> = {};
  const take = async (what: string, tensor: tf.Tensor | undefined) => {
    if (tensor) numbers[what] = [...(await tensor.data())];
  };
  const how = { layers, forward: (input: tf.Tensor) => forward(model, input), ...sharing };
  for await (const event of calibrate(model, inputs(), how)) {
    if (event.kind !== "calibrated") continue;
    for (const [name, covariance] of event.covariances) await take(`covariance ${name}`, covariance);
    numbers.rows = [event.rows];
  }
  const first = passes;
  for await (const event of sensitivities(model, inputs(), { layers, seed: 5, ...sharing })) {
    if (event.kind !== "sensitivities") continue;
    for (const [name, { outputs, importance, rows }] of event.sensitivities) {
      await take(`gradients ${name}`, outputs);
      await take(`importance ${name}`, importance);
      numbers[`rows ${name}`] = [rows];
    }
  }
  for await (const event of inputPowers(model, inputs(), how)) {
    if (event.kind === "powers") for (const [name, powers] of event.powers) numbers[`powers ${name}`] = [...powers];
  }
  await sequential(model, { layers, inputs, take, sharing });
  return { numbers, passes: first };
}

/** Calibrates layer by layer, each of which becomes smaller. */
async function sequential(
  model: Model,
  {
    layers,
    inputs,
    take,
    sharing,
  }: {
    layers: string[];
    inputs: () => AsyncGenerator<tf.Tensor>;
    take: (what: string, tensor: tf.Tensor | undefined) => Promise<void>;
    sharing: Sharing;
  },
): Promise<void> {
  const forward = () => {
    throw new Error("both architectures have steps");
  };
  const calibration = await SequentialCalibration.open(model, inputs(), { layers, forward, damping: 0.01, ...sharing });
  for (const name of calibration.groups.flat()) {
    const progress: AsyncGenerator<SequentialProgress> = calibration.provide(name);
    for await (const _ of progress);
    await take(`sequential covariance ${name}`, calibration.covariances.get(name));
    await take(`correction ${name}`, calibration.corrections.get(name));
    const weight = denseWeight(model, name);
    const smaller = tf.mul<tf.Tensor2D>(weight, 0.8);
    calibration.replaced(name, smaller);
    tf.dispose([weight, smaller]);
  }
  calibration.dispose();
}

await reply(answerTo);
