// Sensitivities on every engine: what is summed at the outputs of layers agrees with gradients by weights and biases, and
// predicted increases of the loss are those of the quadratic form in float64.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { Matrix } from "ml-matrix";
import { Decompositions, type Sensitivity, sensitivities } from "../../workbench/compress/index.ts";
import { outputTriples } from "../../workbench/gblr/init/index.ts";
import { classifierLogits, languageLoss, type Model } from "../../workbench/models/index.ts";
import { smallResnet, smallVit, someImages } from "../architectures/small-vision.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, read, sample, sampleIds, toTensor } from "../engine/ops/operands.ts";
import { tinyModel } from "./tiny.ts";

async function feltBy(model: Model, inputs: tf.Tensor[], layers: string[]): Promise<Map<string, Sensitivity>> {
  const given = (async function* () {
    yield* inputs;
  })();
  for await (const event of sensitivities(model, given, { layers })) {
    if (event.kind === "sensitivities") return event.sensitivities;
  }
  throw new Error("the computation did not end");
}

function disposeOf(felt: Map<string, Sensitivity>): void {
  for (const { outputs, importance } of felt.values()) tf.dispose([outputs, importance]);
}

/** Gradients of a loss by parameters, by name. */
async function gradients(model: Model, loss: () => tf.Tensor, names: string[]): Promise<Map<string, Float32Array>> {
  const variables = names.map((name) => model.parameter(name));
  const { value, grads } = tf.variableGrads(() => tf.sum(loss()), variables);
  const found = new Map<string, Float32Array>();
  for (const [i, name] of names.entries())
    found.set(name, await read(grads[variables[i]?.name as string] as tf.Tensor));
  tf.dispose([value, grads]);
  return found;
}

const texts = (length: number) =>
  [1, 2, 3].map((seed) => tf.tensor2d(sampleIds(seed, length, 50), [1, length], "int32") as tf.Tensor2D);

forEachEngine("sensitivities", (engine) => {
  test("the importance of an input is the mean square of the gradients by its weights", async () => {
    const model = tinyModel() as Model;
    const layers = [...model.layers.keys()];
    const felt = await feltBy(model, texts(9), layers);
    for (const name of layers) {
      const { nIn, nOut } = model.layer(name);
      const expected = new Float64Array(nIn);
      for (const ids of texts(9)) {
        const loss = () => tf.mul(languageLoss(model, ids), 8);
        const weight = (await gradients(model, loss, [`${name}.weight`])).get(`${name}.weight`) as Float32Array;
        // GPT-2 keeps weights as (n_in, n_out).
        weight.forEach((value, at) => {
          const input = Math.floor(at / nOut);
          expected[input] = (expected[input] as number) + value ** 2 / 3;
        });
        ids.dispose();
      }
      expectClose(await read(felt.get(name)?.importance as tf.Tensor), expected, { tolerance: 1e-3 });
      expect(felt.get(name)?.rows).toBe(1);
    }
    disposeOf(felt);
    model.dispose();
  });

  test("G of texts of one prediction is the mean of the products of gradients by biases", async () => {
    const model = tinyModel() as Model;
    const layers = [...model.layers.keys()];
    const before = tf.memory().numTensors;
    const felt = await feltBy(model, texts(2), layers);
    for (const name of layers) {
      const { nOut } = model.layer(name);
      const expected = new Float64Array(nOut * nOut);
      for (const ids of texts(2)) {
        const found = await gradients(model, () => languageLoss(model, ids), [`${name}.bias`]);
        const g = found.get(`${name}.bias`) as Float32Array;
        for (let at = 0; at < nOut * nOut; at++) {
          const product = (g[Math.floor(at / nOut)] as number) * (g[at % nOut] as number);
          expected[at] = (expected[at] as number) + product / 3;
        }
        ids.dispose();
      }
      expectClose(await read(felt.get(name)?.outputs as tf.Tensor), expected, { tolerance: 1e-3 });
    }
    disposeOf(felt);
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  test("a classifier's labels are of its own classes, drawn with its own probabilities", async () => {
    // Convolutions in plain JavaScript take seconds.
    const cases =
      engine().name === "cpu"
        ? [[smallVit, 16]]
        : [
            [smallVit, 16],
            [smallResnet, 24],
          ];
    for (const [made, size] of cases as [() => Model, number][]) {
      const model = made();
      const [name = ""] = [...model.layers.keys()].filter((layer) => model.layer(layer).inRecipe !== false);
      const { nOut, nIn, convolution } = model.layer(name);
      const felt = await feltBy(model, [someImages(1, size)], [name]);
      const found = await read(felt.get(name)?.importance as tf.Tensor);
      const images = someImages(1, size);
      const distances: number[] = [];
      for (let label = 0; label < 5; label++) {
        const loss = () => tf.neg(tf.slice(tf.logSoftmax(classifierLogits(model, images)), [0, label], [1, 1]));
        const weight = (await gradients(model, loss, [`${name}.weight`])).get(`${name}.weight`) as Float32Array;
        const sums = new Float64Array(nIn);
        weight.forEach((value, at) => {
          const input = convolution ? Math.floor(at / nOut) : at % nIn;
          sums[input] = (sums[input] as number) + value ** 2;
        });
        const most = Math.max(...sums);
        distances.push(Math.max(...sums.map((sum, i) => Math.abs(sum - (found[i] as number)))) / most);
      }
      expect(distances.filter((distance) => distance < 1e-3).length).toBe(1);
      images.dispose();
      disposeOf(felt);
      model.dispose();
    }
  });

  test("energies add up to the quadratic form of what is left out, at every rank", async () => {
    const [nOut, nIn, rows] = [6, 9, 3];
    const [weight, x, g] = [sample(1, [nOut, nIn]), sample(2, [30, nIn]), sample(3, [20, nOut])].map(toTensor) as [
      tf.Tensor2D,
      tf.Tensor2D,
      tf.Tensor2D,
    ];
    const mean = (of: tf.Tensor2D) => tf.tidy(() => tf.mul<tf.Tensor2D>(tf.matMul(of, of, true), 1 / of.shape[0]));
    const [covariance, outputs] = [mean(x), mean(g)];
    const importance = tf.zeros([nIn]) as tf.Tensor1D;
    const decompositions = new Decompositions();
    const felt = { outputs, rows, importance };
    const energies = await decompositions.lossEnergies("layer", weight, { covariance, felt });
    const { u, s } = await outputTriples(weight, covariance);
    const [w, sigma, gg, vectors] = (await Promise.all(
      [weight, covariance, outputs, u].map(async (tensor) => new Matrix((await tensor.array()) as number[][])),
    )) as [Matrix, Matrix, Matrix, Matrix];
    for (let rank = 0; rank <= nOut; rank++) {
      const kept = vectors.subMatrix(0, nOut - 1, 0, Math.max(0, rank - 1));
      const left = rank === 0 ? w : Matrix.sub(w, kept.mmul(kept.transpose()).mmul(w));
      const expected = 0.5 * rows * gg.mmul(left).mmul(sigma).mmul(left.transpose()).trace();
      const sum = energies.slice(rank).reduce((total, energy) => total + energy, 0);
      expect(Math.abs(sum - expected)).toBeLessThan(1e-4 * (energies[0] as number));
    }
    decompositions.dispose();
    tf.dispose([weight, x, g, covariance, outputs, importance, u, s]);
  });
});
