// One of our engines as a contestant of the bench: builds the cases of cases.ts from TensorFlow.js operations and the
// fused ops, as a user would, and answers the line protocol. The bench starts it: worker.ts --engine torch ...

import process from "node:process";
import { parseArgs } from "node:util";
import * as tf from "@tensorflow/tfjs-core";
import { EngineError } from "../../workbench/engine/core/errors.ts";
import { openEngine, probeEngine } from "../../workbench/engine/core/open.ts";
import type { Engine, EngineName, Precision } from "../../workbench/engine/core/types.ts";
import { attention } from "../../workbench/engine/ops/attention.ts";
import { linear } from "../../workbench/engine/ops/linear.ts";
import { layerNorm } from "../../workbench/engine/ops/normalization.ts";
import { rmsNorm } from "../../workbench/engine/ops/rms-norm.ts";
import type { Case } from "./cases.ts";
import { type Faults, serve } from "./protocol.ts";
import { trainingStep } from "./training.ts";

type Attention = Extract<Case, { kind: "attention" }>;

const {
  engine: name,
  device,
  precision,
  threads,
} = parseArgs({
  options: {
    engine: { type: "string", default: "auto" },
    device: { type: "string" },
    precision: { type: "string", default: "float32" },
    threads: { type: "string", default: "1" },
  },
}).values;

const engine = await open();

async function open(): Promise<Engine> {
  try {
    return await openEngine({
      engine: name as EngineName,
      precision: precision as Precision,
      threads: Number(threads),
      ...(device === undefined ? {} : { device }),
    });
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    console.error(error.message); // the bench shows the last line of a contestant that ends
    process.exit(1);
  }
}

/** The result of a call is disposed after it; operands live until the case is released. */
type Call = () => tf.TensorContainer;

function build(of: Case): Call {
  switch (of.kind) {
    case "product": {
      const [a, b] = [uniform(of.size, of.size), uniform(of.size, of.size)];
      return () => tf.matMul(a, b);
    }
    case "elementwise": {
      const x = uniform(of.size);
      return () => tf.sub(tf.mul(tf.tanh(tf.add(tf.mul(x, 2), 1)), x), 3);
    }
    case "layerNorm": {
      const [x, gain, bias] = [uniform(of.rows, of.width), uniform(of.width), uniform(of.width)];
      return () => layerNorm(x, gain, bias);
    }
    case "rmsNorm": {
      const [x, gain] = [uniform(of.rows, of.width), uniform(of.width)];
      return () => rmsNorm(x, gain);
    }
    case "linear": {
      const [x, weight] = [uniform(of.rows, of.width), uniform(of.outputs, of.width)];
      return () => linear(x, weight);
    }
    case "attention":
      return buildAttention(of);
    case "training":
      return trainingStep(of, uniform);
    case "tiny": {
      const [x, y] = [uniform(of.size), uniform(of.size)];
      return () => {
        let out = x;
        for (let operation = 0; operation < of.operations; operation++) out = tf.add(out, y);
        return out;
      };
    }
  }
}

function buildAttention({ heads, tokens, width, backward }: Attention): Call {
  const [q, k, v, upstream] = [0, 1, 2, 3].map(() => uniform(1, heads, tokens, width)) as [tf.Tensor4D, ...tf.Tensor[]];
  const forward = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => attention(q, k, v, { causal: true });
  const operands = [q, k, v] as [tf.Tensor, tf.Tensor, tf.Tensor];
  if (!backward) return () => forward(...operands);
  const gradients = tf.grads(forward as (...operands: tf.Tensor[]) => tf.Tensor);
  return () => gradients(operands, upstream);
}

/** Values from -1 to 1, for every case and contestant. */
function uniform(...shape: number[]): tf.Tensor {
  const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
  for (let index = 0; index < values.length; index++) values[index] = Math.random() * 2 - 1;
  return tf.tensor(values, shape, "float32");
}

let call: Call | undefined;

function prepare(of: Case): undefined {
  release();
  // In a scope, so that everything that the case builds is disposed with it.
  tf.engine().startScope(of.kind);
  call = build(of);
}

function release(): void {
  if (call === undefined) return;
  call = undefined;
  tf.engine().endScope();
  tf.disposeVariables();
}

function once(): void {
  if (call === undefined) throw new Error("a case has to be prepared before it is computed");
  tf.dispose(tf.tidy(call));
}

async function time(calls: number): Promise<number> {
  await engine.synchronize();
  const start = performance.now();
  for (let index = 0; index < calls; index++) once();
  await engine.synchronize();
  return (performance.now() - start) / 1000;
}

async function faults(calls: number): Promise<Faults> {
  const counts: number[] = [];
  for (let index = 0; index < calls; index++) {
    const before = process.resourceUsage().minorPageFault;
    once();
    await engine.synchronize();
    counts.push(process.resourceUsage().minorPageFault - before);
  }
  const memory = engine.memory();
  return memory === undefined ? { faults: counts } : { faults: counts, held: memory.inUse + memory.cached };
}

/** The device, for a GPU with its model name: results are filed under it. */
async function deviceName(): Promise<string> {
  const probe = await probeEngine(engine.name);
  const found = probe.available ? probe.devices.find(({ id }) => id === engine.device) : undefined;
  return engine.device === "cpu" || found === undefined ? engine.device : `${engine.device} ${found.name}`;
}

await serve({
  about: async () => ({ version: engine.version, device: await deviceName(), threads: engine.threads }),
  prepare,
  time,
  faults,
  release,
});
