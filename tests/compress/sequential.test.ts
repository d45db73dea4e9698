// Sequential calibration on every engine and architecture: what it gives for each layer is what whole forward passes of
// the dense and of the partly converted model give in float64, and targets are those of a least squares problem.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { Matrix, solve } from "ml-matrix";
import { SequentialCalibration } from "../../workbench/compress/index.ts";
import { targetOf } from "../../workbench/compress/sequential.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { copyModel } from "../../workbench/models/create.ts";
import {
  architectureOf,
  classifierLogits,
  createModel,
  denseWeight,
  languageHidden,
  type Model,
  replaceLayer,
  splitConvolution,
} from "../../workbench/models/index.ts";
import { dense } from "../../workbench/structures/dense.ts";
import { bigram } from "../architectures/example.ts";
import { SIZES } from "../architectures/llama/families.ts";
import { RESNET_BOTTLENECKS, smallMixer, smallResnet, smallVit, someImages } from "../architectures/small-vision.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, read, sample, sampleIds, toTensor } from "../engine/ops/operands.ts";
import { askPython, PATIENCE, pythonWith } from "../python/python.ts";
import { tinyModel } from "./tiny.ts";

const DAMPING = 0.01;

interface Case {
  model: () => Model;
  inputs: () => tf.Tensor[];
}

const texts = (vocabulary: number) => () =>
  [1, 2, 3].map((seed) => tf.tensor2d(sampleIds(seed, 20, vocabulary), [2, 10], "int32") as tf.Tensor);
const images = (size: number) => () => [someImages(3, size), someImages(1, size)] as tf.Tensor[];

const CASES: Record<string, Case> = {
  gpt2: { model: () => tinyModel() as Model, inputs: texts(50) },
  llama: {
    model: () => {
      const model = createModel(architectureOf("llama"), { ...SIZES, model_type: "llama" });
      // Weights of initializations change residual streams too little to tell models apart.
      for (const [name, weight] of model.parameters) {
        if (name.includes("_proj")) tf.tidy(() => weight.assign(tf.mul(weight, 8)));
      }
      return model as Model;
    },
    inputs: texts(40),
  },
  vit: { model: () => smallVit() as Model, inputs: images(16) },
  mixer: { model: () => smallMixer() as Model, inputs: images(16) },
  resnet: { model: () => smallResnet(RESNET_BOTTLENECKS) as Model, inputs: images(24) },
  "resnet, per kernel": {
    model: () => {
      const model = smallResnet() as Model;
      splitConvolution(model, "layer1.0.conv2");
      return model;
    },
    inputs: images(24),
  },
  "an architecture without steps": { model: () => createModel(bigram, BIGRAM) as Model, inputs: texts(30) },
};
const BIGRAM = { vocab_size: 30, width: 8, inner: 12, positions: 12 };

const forward = (model: Model, input: tf.Tensor): tf.Tensor =>
  model.architecture.task.kind === "text-generation"
    ? languageHidden(model, input as tf.Tensor2D)
    : classifierLogits(model, input as tf.Tensor4D);

/** A matrix that a layer might become. */
function altered(weight: tf.Tensor2D, seed: number): tf.Tensor2D {
  return tf.tidy(() => tf.add<tf.Tensor2D>(tf.mul(weight, 0.8), tf.mul(toTensor(sample(seed, weight.shape)), 0.05)));
}

async function* given(inputs: tf.Tensor[]): AsyncGenerator<tf.Tensor> {
  yield* inputs;
}

/** The rows that a layer gets in whole forward passes, (rows, n_in). */
function rowsOf(model: Model, name: string, inputs: tf.Tensor[]): Matrix {
  const rows: number[][] = [];
  const { nIn } = model.layer(name);
  model.observer = (layer, x) => {
    if (layer === name) rows.push(...(tf.reshape(x, [-1, nIn]).arraySync() as number[][]));
  };
  tf.tidy(() => inputs.forEach((input) => void forward(model, input)));
  model.observer = undefined;
  return new Matrix(rows);
}

async function matrixOf(tensor: tf.Tensor2D): Promise<Matrix> {
  return new Matrix((await tensor.array()) as number[][]);
}

/** Σ' + damping and W (C + damping) (Σ' + damping)⁻¹ in float64. */
function expectedOf({ x, seen, weight }: { x: Matrix; seen: Matrix; weight: Matrix }) {
  const mean = seen.transpose().mmul(seen).div(seen.rows);
  const damping = Matrix.eye(mean.rows).mul((DAMPING * mean.trace()) / mean.rows);
  const damped = Matrix.add(mean, damping);
  const cross = Matrix.add(x.transpose().mmul(seen).div(seen.rows), damping);
  // T Σ = W C, transposed
  const target = solve(damped, weight.mmul(cross).transpose()).transpose();
  return { covariance: damped.to1DArray(), target: target.to1DArray() };
}

forEachEngine("sequential calibration", (engine) => {
  for (const [title, { model: made, inputs }] of Object.entries(CASES)) {
    test(`of ${title} gives what whole forward passes give in float64`, async () => {
      // Convolutions in plain JavaScript take seconds.
      const isSlow = title.startsWith("resnet") && engine().name !== "torch";
      if (isSlow && (engine().name === "cpu" || title.endsWith("per kernel"))) return;
      const model = made();
      const converted = copyModel(model);
      const data = inputs();
      const layers = [...model.layers.values()].map(({ name }) => name);
      const calibration = await SequentialCalibration.open(model, given(inputs()), {
        ...{ layers, forward, damping: DAMPING },
      });
      const order = calibration.groups.flat();
      expect(order.toSorted()).toEqual(layers.toSorted());
      for (const [i, name] of order.entries()) {
        const weight = denseWeight(model, name);
        for await (const event of calibration.provide(name)) expect(event.of).toBe(data.length);
        const [x, seen] = [rowsOf(model, name, data), rowsOf(converted, name, data)];
        const expected = expectedOf({ x, seen, weight: await matrixOf(weight) });
        expect(calibration.rows).toBe(seen.rows);
        expectClose(await read(calibration.covariances.get(name) as tf.Tensor), expected.covariance, {
          tolerance: 1e-5,
        });
        const target = targetOf(weight, calibration.corrections.get(name));
        expectClose(await read(target), expected.target, { tolerance: 1e-3 });
        // Some layers stay as they are.
        if (i % 5 !== 3) {
          const matrix = altered(weight, i);
          calibration.replaced(name, matrix);
          replaceLayer(converted, name, dense, { weight: matrix });
        }
        tf.dispose([weight, target]);
      }
      calibration.dispose();
      tf.dispose(data);
      for (const each of [model, converted]) each.dispose();
    });
  }

  test("leaves nothing behind, whether it ends, is stopped by its signal, or is abandoned", async () => {
    const model = tinyModel() as Model;
    const layers = [...model.layers.keys()];
    const before = tf.memory().numTensors;
    for (const way of ["stopped", "abandoned in a step", "abandoned at the last layer of a step", "ended"]) {
      const abort = new AbortController();
      const how = { layers, forward, signal: abort.signal };
      const calibration = await SequentialCalibration.open(model, given(texts(50)()), how);
      const convertAll = async () => {
        for (const name of calibration.groups.flat()) {
          for await (const { inputs } of calibration.provide(name)) {
            if (way === "stopped" && inputs === 2) abort.abort();
            if (way === "abandoned in a step" && inputs === 0) return;
            if (way === "abandoned at the last layer of a step" && name === "h.0.attn.c_proj" && inputs === 2) return;
          }
          const weight = denseWeight(model, name);
          calibration.replaced(name, weight);
          weight.dispose();
        }
      };
      if (way === "stopped") await expect(convertAll()).rejects.toThrow();
      else await convertAll();
      calibration.dispose();
      expect(tf.memory().numTensors).toBe(before);
    }
    const none = SequentialCalibration.open(model, given([]), { layers, forward });
    await expect(none).rejects.toThrow("calibration: there is no input; use more data");
    model.dispose();
  });
});

const python = pythonWith("numpy");
test.skipIf(!python)(
  "the target is the solution of a damped least squares problem by numpy's lstsq",
  async () => {
    await openEngine();
    const model = tinyModel() as Model;
    const converted = copyModel(model);
    const data = texts(50)();
    const [first, name] = ["h.0.attn.c_proj", "h.0.mlp.c_proj"];
    const options = { layers: [first, name], forward, damping: DAMPING };
    const calibration = await SequentialCalibration.open(model, given(texts(50)()), options);
    for await (const _ of calibration.provide(first)) expect(calibration.corrections.size).toBe(0);
    const [old, weight] = [denseWeight(model, first), denseWeight(model, name)];
    const matrix = altered(old, 1);
    calibration.replaced(first, matrix);
    replaceLayer(converted, first, dense, { weight: matrix });
    for await (const _ of calibration.provide(name)) expect(calibration.covariances.has(first)).toBe(false);
    const problem = {
      x: rowsOf(model, name, data).to2DArray(),
      seen: rowsOf(converted, name, data).to2DArray(),
      weight: await weight.array(),
      damping: DAMPING,
    };
    const expected = await askPython<number[]>(python, LSTSQ, { input: JSON.stringify(problem) });
    const target = targetOf(weight, calibration.corrections.get(name));
    expectClose(await read(target), expected, { tolerance: 1e-4 });
    tf.dispose([old, weight, target, ...data]);
    calibration.dispose();
    for (const each of [model, converted]) each.dispose();
  },
  PATIENCE,
);

/** Minimizes the mean of |W x - T x'|² plus damping · |W - T|², as one problem with more rows. */
const LSTSQ = `
import json, sys
import numpy as np
given = json.load(sys.stdin)
x, seen, weight = (np.array(given[name]) for name in ("x", "seen", "weight"))
rows, n = seen.shape
damping = given["damping"] * np.mean(seen ** 2)
more = np.sqrt(rows * damping) * np.eye(n)
left = np.concatenate([seen, more])
right = np.concatenate([x, more]) @ weight.T
print(json.dumps(np.linalg.lstsq(left, right, rcond=None)[0].T.ravel().tolist()))
`;
