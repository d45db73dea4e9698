// `bun bench/gaudi-mask.ts`: the cost of a Gaudi mask relative to the training step that it is part of. The mask is the
// wider one of a 768 → 3072 GBLR layer with 768 blocks, with its gradient. The step is that of the layer on 1024 rows:
// forward, backward, AdamW.

import process from "node:process";
import * as tf from "@tensorflow/tfjs-core";
import { Command, Option } from "commander";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { median } from "../workbench/engine/core/measure.ts";
import { openEngine } from "../workbench/engine/core/open.ts";
import type { Engine, EngineName } from "../workbench/engine/core/types.ts";
import { adamwStep } from "../workbench/engine/ops/index.ts";
import { gaudiMask } from "../workbench/gblr/mask.ts";
import type { GblrParameters } from "../workbench/gblr/matrix.ts";
import { GblrMatrix } from "../workbench/gblr/matrix.ts";
import { adamwGroup } from "./engine/training.ts";

interface Options {
  engine: EngineName | "auto";
  nIn: number;
  nOut: number;
  rows: number;
  rounds: number;
  sigma: number;
  json?: boolean;
}

const options = new Command("bun bench/gaudi-mask.ts")
  .description("compares a mask with its gradient to a training step of its layer")
  .addOption(new Option("--engine <engine>", "which engine computes").default("auto"))
  .option("--n-in <samples>", "columns of the matrix", Number, 768)
  .option("--n-out <samples>", "rows of the matrix, the width of the mask", Number, 3072)
  .option("--rows <rows>", "rows of x", Number, 1024)
  .option("--rounds <rounds>", "times that mask and step are measured in turn", Number, 15)
  .option("--sigma <sigma>", "smoothness of the mask", Number, Number.POSITIVE_INFINITY)
  .option("--json", "one JSON document on stdout")
  .addHelpText("after", "\nExample:\n  bun bench/gaudi-mask.ts --sigma 100")
  .parse()
  .opts<Options>();

const MASKS_A_SAMPLE = 10;

const engine = await openEngine({ engine: options.engine });
const report = await bench(engine, options);
process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : table(report));

async function bench(engine: Engine, { nIn, nOut, rows, rounds, sigma }: Options) {
  const mask = maskWithGradient({ nIn, nOut, sigma });
  const step = trainingStep({ nIn, nOut, rows, sigma });
  const times: { mask: number[]; step: number[] } = { mask: [], step: [] };
  // Alternating, so that other load on the machine affects both alike. The first rounds are the warm-up.
  for (let round = -2; round < rounds; round++) {
    const [maskTime, stepTime] = [
      await milliseconds(engine, mask, MASKS_A_SAMPLE),
      await milliseconds(engine, step, 1),
    ];
    if (round >= 0) {
      times.mask.push(maskTime);
      times.step.push(stepTime);
    }
  }
  const [maskMs, stepMs] = [median(times.mask), median(times.step)];
  return {
    machine: inspectMachine().cpu,
    engine: engine.name,
    nIn,
    nOut,
    rows,
    sigma,
    maskMs,
    stepMs,
    share: maskMs / stepMs,
  };
}

async function milliseconds(engine: Engine, run: () => void, calls: number): Promise<number> {
  await engine.synchronize();
  const start = performance.now();
  for (let call = 0; call < calls; call++) {
    tf.tidy(run);
  }
  await engine.synchronize();
  return (performance.now() - start) / calls;
}

/** Forward, and backward with a dense outer gradient. */
function maskWithGradient({ nIn, nOut, sigma }: { nIn: number; nOut: number; sigma: number }): () => void {
  const blocks = Math.min(nIn, nOut);
  const [widths, locations] = [tf.randomUniform([blocks]), tf.randomUniform([blocks])];
  const dy = tf.randomNormal([blocks, nOut]);
  const gradients = tf.grads((w, l) => gaudiMask(w as tf.Tensor1D, l as tf.Tensor1D, nOut, { sigma }));
  return () => void gradients([widths, locations], dy);
}

function trainingStep({ nIn, nOut, rows, sigma }: { nIn: number; nOut: number; rows: number; sigma: number }) {
  const parameters = layerOf(nIn, nOut);
  const matrix = new GblrMatrix<tf.Variable>(parameters, { sigma });
  const x = tf.randomNormal([rows, nIn]);
  const target = tf.randomNormal([rows, nOut]);
  const variables = Object.values(parameters) as tf.Variable[];
  const optimizer = adamwGroup(variables);
  let step = 0;
  // x gets a gradient as well, as in the middle of a network.
  const loss = (x: tf.Tensor) => tf.mean(tf.squaredDifference(matrix.apply(x), target));
  // The variables are arguments so that they get gradients; the matrix holds them already.
  const gradients = tf.grads((x) => loss(x as tf.Tensor));
  return () => {
    const [, ...grads] = gradients([x, ...variables]);
    adamwStep([{ ...optimizer, gradients: grads }], { step: ++step });
  };
}

function layerOf(nIn: number, nOut: number): GblrParameters<tf.Variable> {
  const blocks = Math.min(nIn, nOut);
  const scale = 1 / Math.sqrt(nIn);
  return {
    lr_weight1: tf.variable(tf.randomNormal([blocks, 1, nIn], 0, scale)),
    lr_weight2: tf.variable(tf.randomNormal([blocks, nOut, 1], 0, scale)),
    widths: tf.variable(tf.randomUniform([2, blocks])),
    locations: tf.variable(tf.randomUniform([2, blocks])),
    bias: tf.variable(tf.zeros([nOut])),
  };
}

function table({
  machine,
  engine,
  nIn,
  nOut,
  rows,
  sigma,
  maskMs,
  stepMs,
  share,
}: Awaited<ReturnType<typeof bench>>): string {
  return [
    `${engine} on ${machine}: ${nIn} → ${nOut}, ${Math.min(nIn, nOut)} blocks, ${rows} rows, sigma ${sigma}`,
    `mask (${Math.min(nIn, nOut)}, ${nOut}) with gradient  ${maskMs.toFixed(2)} ms`,
    `training step of the layer        ${stepMs.toFixed(1)} ms`,
    `share                             ${(100 * share).toFixed(2)} %`,
    "",
  ].join("\n");
}
