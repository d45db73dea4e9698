// How often a conversion decomposes the matrices of its layers, counted where they are decomposed: in the engine's kernels.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import {
  type Allocation,
  type ConvertedLayer,
  Decompositions,
  type Init,
  planConversion,
  windowInputs,
} from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { svdFloat64, symmetricEigenFloat64 } from "../../workbench/engine/linalg/float64.ts";
import { SVD, SYMMETRIC_EIGEN } from "../../workbench/engine/ops/kernels.ts";
import { languageHidden } from "../../workbench/models/index.ts";
import { hashedCalibration } from "../../workbench/pipeline/calibration/hash.ts";
import { convertModel } from "../../workbench/pipeline/convert.ts";
import { resultOf } from "../../workbench/pipeline/stage.ts";
import { converted, TINY, tinyModel } from "./tiny.ts";

setDefaultTimeout(60_000);

let decomposed: string[] = [];
let eigen = 0;

type Read = { readSync(id: object): Float32Array };
const backendName = "cpu";

/** Vectors that lie one after the other, as the columns of a matrix (length, count). */
const columnsOf = (values: Float64Array, count: number, length: number): tf.Tensor2D =>
  tf.tidy(() => tf.transpose(tf.tensor2d(Float32Array.from(values), [count, length])));

beforeAll(async () => {
  await openEngine({ engine: backendName });
  tf.registerKernel({
    kernelName: SVD,
    backendName,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { x } = inputs as { x: tf.TensorInfo };
      const [rows, columns] = x.shape as [number, number];
      decomposed.push(`${rows} × ${columns}`);
      const { rank } = attrs as unknown as { rank: number };
      const values = Float64Array.from((backend as unknown as Read).readSync(x.dataId));
      const { left, s, right } = svdFloat64({ values, rows, columns }, { rank, exact: false });
      return [columnsOf(left, rank, rows), tf.tensor1d(Float32Array.from(s)), columnsOf(right, rank, columns)];
    },
  });
  tf.registerKernel({
    kernelName: SYMMETRIC_EIGEN,
    backendName,
    kernelFunc: ({ inputs, backend }) => {
      const { x } = inputs as { x: tf.TensorInfo };
      const n = x.shape[0] as number;
      eigen++;
      const found = symmetricEigenFloat64(Float64Array.from((backend as unknown as Read).readSync(x.dataId)), n);
      return [tf.tensor1d(Float32Array.from(found.values)), columnsOf(found.vectors, n, n)];
    },
  });
});
afterAll(() => {
  for (const kernelName of [SVD, SYMMETRIC_EIGEN]) tf.unregisterKernel(kernelName, backendName);
});

async function conversionOf(structure: string, { init, allocation }: { init: Init; allocation: Allocation }) {
  const model = tinyModel();
  const windows = {
    length: 2,
    context: TINY.n_positions,
    read: async (i: number) => Int32Array.from({ length: TINY.n_positions + 1 }, (_, at) => (7 * at + i) % 50),
  };
  const calibration = hashedCalibration({
    inputs: () => windowInputs(windows, { samples: 2 }),
    forward: (_: unknown, ids: tf.Tensor) => languageHidden(model, ids as tf.Tensor2D),
    total: 2,
    unit: "windows" as const,
  });
  [decomposed, eigen] = [[], 0];
  const { conversion } = await resultOf(
    convertModel(model, {
      plan: (request) => planConversion(model, { structure, budget: 0.5, ...request }),
      ...{
        allocation,
        init,
        seed: 1,
        searchSteps: 4,
        signal: new AbortController().signal,
        whitening: "eigen" as const,
      },
      ...(init === "activation" && { calibration }),
    }),
  );
  model.dispose();
  return conversion.layers;
}

describe.each(["uniform", "global"] as const)("with a %s allocation", (allocation) => {
  test.each([
    ["lowrank", "svd"],
    ["lowrank", "activation"],
    ["gblr", "svd"],
    ["gblr", "activation"],
    ["gblr", "search"],
  ] as const)("%s by %s decomposes the matrix of each layer once", async (structure, init) => {
    const layers = await conversionOf(structure, { init, allocation });
    const converted = layers.filter((layer) => layer.structure !== "dense");
    expect(converted.length).toBeGreaterThan(3);
    const all = allocation === "global" ? layers : converted;
    expect(decomposed.toSorted()).toEqual(all.map(({ nIn, nOut }) => `${nOut} × ${nIn}`).sort());
    expect(eigen).toBe(init === "activation" ? all.length : 0);
  });
});

test("nothing that was decomposed stays in memory", async () => {
  const before = tf.memory().numTensors;
  await conversionOf("lowrank", { init: "activation", allocation: "global" });
  await conversionOf("gblr", { init: "svd", allocation: "global" });
  expect(tf.memory().numTensors).toBe(before);
});

test("triples that planning hands on give the same layers as those of a conversion of its own", async () => {
  const model = tinyModel();
  const plan = await planConversion(model, { structure: "gblr", budget: 0.5, allocation: "global" });
  const { layers } = await converted(model, plan);
  model.dispose();
  const errors = (of: readonly ConvertedLayer[]) => of.map(({ name, cost, error }) => ({ name, cost, error }));
  expect(errors(await conversionOf("gblr", { init: "svd", allocation: "global" }))).toEqual(errors(layers));
});

test("beyond a limit of memory only singular values are kept", async () => {
  const model = tinyModel();
  // The triples of the first layer, 16 × 48, take 4 · 16 · (48 + 1 + 16) bytes.
  const decompositions = new Decompositions({ most: 5000 });
  decomposed = [];
  const options = { structure: "lowrank", budget: 0.5, allocation: "global", decompositions } as const;
  const plan = await planConversion(model, options);
  expect(decomposed.length).toBe(plan.layers.length);
  const kept = plan.layers.filter(({ name }) => decompositions.triplesOf(name)).map(({ name }) => name);
  expect(kept).toEqual(["h.0.attn.c_attn"]);
  // A second plan needs no decomposition, and is the same.
  expect(await planConversion(model, options)).toEqual(plan);
  expect(decomposed.length).toBe(plan.layers.length);
  const layers = await converted(model, plan, { decompositions });
  const free = await converted(tinyModel(), plan);
  expect(layers.layers.map(({ error }) => error)).toEqual(free.layers.map(({ error }) => error));
  decompositions.dispose();
  model.dispose();
});

test("a search decomposes a matrix once, also if the plan could not keep its triples", async () => {
  const model = tinyModel();
  const decompositions = new Decompositions({ most: 0 });
  const options = { structure: "gblr", budget: 0.5, allocation: "global", decompositions } as const;
  const plan = await planConversion(model, options);
  const searched = plan.layers.filter(({ structure }) => structure === "gblr");
  expect(searched.length).toBeGreaterThan(3);
  decomposed = [];
  await converted(model, plan, { decompositions, init: "search", searchSteps: 1 });
  expect(decomposed.length).toBe(searched.length);
  decompositions.dispose();
  model.dispose();
});
