// `bun bench/svd.ts`: the time to decompose the 36 structured layers of a GPT-2 small, 12 each of three shapes, and the
// error of the singular values. The weights are random matrices whose singular values decay like those of a trained
// layer.

import os from "node:os";
import process from "node:process";
import * as tf from "@tensorflow/tfjs-core";
import { Command, Option } from "commander";
import { openEngine } from "../workbench/engine/core/open.ts";
import { ENGINE_NAMES, type EngineName } from "../workbench/engine/core/types.ts";
import { svd } from "../workbench/engine/linalg/index.ts";
import { svdFactors } from "../workbench/gblr/init/index.ts";

const SHAPES: readonly [nOut: number, nIn: number][] = [
  [2304, 768],
  [3072, 768],
  [768, 3072],
];
const LAYERS_EACH = 12;

interface Options {
  engine: EngineName;
  device?: string;
  threads: number;
  layers: number;
  json?: boolean;
}

const {
  engine: name,
  device,
  threads,
  layers,
  json,
} = new Command("bun bench/svd.ts")
  .description("times the singular value decompositions of a conversion of GPT-2 small")
  .addOption(new Option("--engine <name>", "which engine computes").choices(ENGINE_NAMES).default("torch"))
  .option("--device <device>", "of the engine: cpu, cuda (default: its best)")
  .option("--threads <count>", "CPU threads", Number, os.availableParallelism())
  .option("--layers <count>", "of each shape; fewer on a slow engine", Number, LAYERS_EACH)
  .option("--json", "one JSON document on stdout")
  .addHelpText("after", "\nExample:\n  bun bench/svd.ts --engine wasm --layers 1")
  .parse()
  .opts<Options>();

const engine = await openEngine({ engine: name, threads, ...(device === undefined ? {} : { device }) });
print(`${engine.name} on ${engine.device}, ${engine.threads} threads, ${engine.version}`);

const rows: { shape: readonly number[]; seconds: number; error: number }[] = [];
for (const shape of SHAPES) {
  const { seconds, error } = await timeLayers(shape);
  rows.push({ shape, seconds: seconds / layers, error });
  const each = ((1000 * seconds) / layers).toFixed(0);
  print(`${shape.join(" × ")}: ${each} ms a layer, singular values within ${error.toExponential(1)} of their own size`);
}
const total = layers * rows.reduce((sum, { seconds }) => sum + seconds, 0);
print(`${SHAPES.length * layers} layers: ${total.toFixed(1)} s`);
if (json) process.stdout.write(`${JSON.stringify({ device: engine.device, layers, rows, memory: engine.memory() })}\n`);

/** Decomposes one matrix as often as there are layers; its singular values are known by construction. */
async function timeLayers([nOut, nIn]: readonly [number, number]): Promise<{ seconds: number; error: number }> {
  const { weight, s } = await trainedLike(nOut, nIn);
  let [seconds, error] = [0, 0];
  for (let layer = 0; layer < layers; layer++) {
    await engine.synchronize();
    const start = performance.now();
    const factors = await svdFactors(weight);
    await engine.synchronize();
    seconds += (performance.now() - start) / 1000;
    error = await largestError(factors.singularValues, s);
    tf.dispose(factors as unknown as tf.TensorContainer);
  }
  weight.dispose();
  return { seconds, error };
}

/** A matrix of random bases and singular values from 60 down to 0.1, about the range in trained layers. */
async function trainedLike(nOut: number, nIn: number): Promise<{ weight: tf.Tensor2D; s: Float64Array }> {
  const rank = Math.min(nOut, nIn);
  const s = Float64Array.from({ length: rank }, (_, i) => 60 * (0.1 / 60) ** ((i / (rank - 1)) ** 0.3));
  const random = tf.randomNormal<tf.Rank.R2>([nOut, nIn], 0, 1, "float32", 1);
  const bases = await svd(random);
  const weight = tf.tidy(() => {
    const scaled = tf.mul(bases.u, tf.tensor1d(Float32Array.from(s))) as tf.Tensor2D;
    return tf.matMul(scaled, bases.v, false, true) as tf.Tensor2D;
  });
  tf.dispose([random, bases.u, bases.s, bases.v]);
  return { weight, s };
}

async function largestError(found: tf.Tensor1D, expected: Float64Array): Promise<number> {
  const values = await found.data();
  return expected.reduce((most, value, i) => Math.max(most, Math.abs((values[i] as number) / value - 1)), 0);
}

function print(line: string): void {
  if (!json) process.stdout.write(`${line}\n`);
}
