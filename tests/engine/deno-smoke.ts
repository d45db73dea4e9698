// What Deno runs of the engines: opens wasm, webgpu and torch where they are, trains a small perceptron on each, and runs
// the gradients that bun's tests run elsewhere. Bun has no WebGPU, so that webgpu is tested here alone.
//
//   bun run test:deno

import process from "node:process";
import * as tf from "@tensorflow/tfjs-core";
import { EngineError } from "../../workbench/engine/core/errors.ts";
import { openEngine, probeEngines } from "../../workbench/engine/core/open.ts";
import type { Engine, EngineName } from "../../workbench/engine/core/types.ts";
import { GRADIENT_CASES, runCase } from "./gradient-cases.ts";

const ENGINES: readonly EngineName[] = ["torch", "webgpu", "wasm"];
const STEPS = 30;
/** relative difference of losses between engines */
const LOSS_TOLERANCE = 1e-4;
/** shaders compute arc sines to about three digits */
const GRADIENT_TOLERANCE = 1e-3;
/** TensorFlow.js's own kernel is wrong on webgpu as it is on cpu, with which the others are compared. */
const NOT_COMPARED: readonly string[] = [tf.MaxPool3D];

/** bytes; a tensor beyond the limit of a large GPU takes too much memory for a test */
const LARGEST_TRIED = 2 ** 28;

const results = { passed: 0, failed: 0 };

function report(ok: boolean, line: string): void {
  results[ok ? "passed" : "failed"]++;
  console.log(`${ok ? "ok    " : "FAILED"} ${line}`);
}

/** Waves that look random and are the same on every engine. */
function waves(rows: number, columns: number, seed: number): tf.Tensor2D {
  const values = Float32Array.from({ length: rows * columns }, (_, index) => Math.sin((index + 1) * (seed + 1.7)));
  return tf.tensor2d(values, [rows, columns]);
}

/** @returns the loss before each step of gradient descent, and after the last */
async function train(): Promise<number[]> {
  const x = waves(64, 16, 1);
  const y = tf.tidy(() => tf.tanh(tf.matMul(x, waves(16, 4, 2))));
  const [first, second, ...biases] = tf.tidy(() =>
    [tf.mul(waves(16, 32, 3), 0.3), tf.mul(waves(32, 4, 4), 0.3), tf.zeros([32]), tf.zeros([4])].map((initial) =>
      tf.variable(initial),
    ),
  ) as [tf.Variable, tf.Variable, tf.Variable, tf.Variable];
  const loss = (): tf.Scalar => {
    const hidden = tf.relu(tf.add(tf.matMul(x, first), biases[0]));
    const output = tf.add(tf.matMul(hidden, second), biases[1]);
    return tf.mean(tf.squaredDifference(output, y));
  };
  const optimizer = tf.train.sgd(1);
  const losses: number[] = [];
  for (let step = 0; step <= STEPS; step++) {
    const current = optimizer.minimize(loss, true) as tf.Scalar;
    losses.push(...(await current.data()));
    current.dispose();
  }
  tf.dispose([x, y, first, second, ...biases]);
  optimizer.dispose();
  return losses;
}

async function checkTraining(engine: Engine, reference: readonly number[]): Promise<void> {
  const before = tf.memory().numTensors;
  const losses = await train();
  await engine.synchronize();
  const [start = Number.NaN, end = Number.NaN] = [losses[0], losses.at(-1)];
  const apart = Math.max(...losses.map((loss, step) => Math.abs(loss / (reference[step] as number) - 1)));
  const left = tf.memory().numTensors - before;
  const ok = end < 0.5 * start && apart < LOSS_TOLERANCE && left === 0;
  report(
    ok,
    `${engine.name} on ${engine.device} (${engine.version}): loss ${start.toFixed(4)} to ${end.toFixed(4)} in ` +
      `${STEPS} steps, at most ${apart.toExponential(1)} from cpu, ${left} tensors left behind`,
  );
}

function differs(actual: Float32Array, expected: Float32Array): boolean {
  return (
    actual.length !== expected.length ||
    actual.some((value, index) => {
      const wanted = expected[index] as number;
      return !(Math.abs(value - wanted) <= GRADIENT_TOLERANCE * (1 + Math.abs(wanted)));
    })
  );
}

type Gradients = Map<string, Float32Array[]>;

async function checkGradients(engine: Engine, reference: Gradients): Promise<void> {
  const wrong: string[] = [];
  const cases = GRADIENT_CASES.filter(({ kernel }) => !NOT_COMPARED.includes(kernel));
  for (const single of cases) {
    try {
      const actual = await runCase(single);
      const expected = reference.get(single.kernel) ?? [];
      if (actual.length !== expected.length || actual.some((one, at) => differs(one, expected[at] as Float32Array))) {
        wrong.push(single.kernel);
      }
    } catch (error) {
      wrong.push(`${single.kernel} (${(error as Error).message.split("\n")[0]})`);
    }
  }
  const found = wrong.length === 0 ? "all agree with cpu" : `differ from cpu: ${wrong.join(", ")}`;
  report(wrong.length === 0, `${engine.name} on ${engine.device}: ${cases.length} gradients, ${found}`);
}

/** The message of the error that `attempt` ends in, or nothing when it succeeds. */
async function complaint(attempt: () => unknown): Promise<string | undefined> {
  try {
    await attempt();
  } catch (error) {
    return error instanceof EngineError ? error.message : `${error}, which is no EngineError`;
  }
}

/** What WebGPU cannot do must be said: left alone it reads as zeros, or fails inside a canvas. */
async function checkRefusals(): Promise<void> {
  // A product: the backend computes sums this small in JavaScript, and then it can read them.
  const sum = tf.tidy(() => tf.matMul(tf.ones([2, 2]), tf.ones([2, 1])));
  const synchronous = await complaint(() => sum.dataSync());
  report(Boolean(synchronous?.includes("synchronously")), `webgpu: synchronous read: ${synchronous}`);
  const { device } = tf.backend() as unknown as { device: GPUDevice };
  const limit = device.limits.maxStorageBufferBindingSize;
  if (limit > LARGEST_TRIED) {
    console.log(`not tried: a tensor beyond webgpu's ${limit} bytes`);
    return;
  }
  const tooLarge = await complaint(() => tf.fill([limit / 4 + 1024], 1));
  report(Boolean(tooLarge?.includes("allows")), `webgpu: a tensor too large: ${tooLarge}`);
  const after = await sum.data();
  report(after[0] === 2 && after[1] === 2, "webgpu: goes on after both");
  tf.dispose(sum);
  const faulty = { size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.MAP_WRITE };
  device.createBuffer(faulty);
  const square = tf.square(tf.matMul(tf.ones([2, 2]), tf.ones([2, 2])));
  const reported = await complaint(() => square.data());
  report(Boolean(reported?.includes("reported an error")), `webgpu: an error beside the program: ${reported}`);
  await openEngine({ engine: "webgpu" });
  report((await square.data())[0] === 4, "webgpu: goes on when opened again");
  tf.dispose(square);
}

await openEngine({ engine: "cpu" });
const losses = await train();
const gradients: Gradients = new Map();
for (const single of GRADIENT_CASES) {
  gradients.set(single.kernel, await runCase(single));
}
for (const { name, probe } of await probeEngines()) {
  if (!ENGINES.includes(name)) {
    continue;
  }
  if (!probe.available) {
    console.log(`absent ${name}: ${probe.reason}`);
    continue;
  }
  try {
    const engine = await openEngine({ engine: name });
    await checkTraining(engine, losses);
    await checkGradients(engine, gradients);
    if (name === "webgpu") {
      await checkRefusals();
    }
  } catch (error) {
    report(false, `${name}: ${(error as Error).message}`);
  }
}
console.log(`${results.passed} passed, ${results.failed} failed`);
process.exit(results.failed === 0 ? 0 : 1);
