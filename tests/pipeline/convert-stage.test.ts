// The convert stage with calibration in all of its ways: together, sequential inputs, allocation by the loss, and every
// structure and initialization.

import { beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import {
  type Allocation,
  FinishedLayers,
  type Init,
  planConversion,
  windowInputs,
} from "../../workbench/compress/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { languageHidden, type Model } from "../../workbench/models/index.ts";
import { hashedCalibration } from "../../workbench/pipeline/calibration/hash.ts";
import { type Converted, convertModel } from "../../workbench/pipeline/convert.ts";
import { resultOf } from "../../workbench/pipeline/stage.ts";
import { TINY, tinyModel, tokens } from "../compress/tiny.ts";
import { sampleIds } from "../engine/ops/operands.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { numbersOf } from "../train/small.ts";

beforeAll(() => openEngine());

/** More rows than any layer has inputs, so that targets are not fitted to noise. */
const COUNT = 64;
const windowsFrom = (seed: number) => ({
  length: COUNT,
  context: TINY.n_positions,
  read: async (i: number) => sampleIds(seed + i, TINY.n_positions + 1, TINY.vocab_size),
});
const folder = temporaryFolder();

interface Ways {
  structure?: string;
  init?: Init;
  allocation?: Allocation;
  sequential?: boolean;
  budget?: number;
  finished?: FinishedLayers;
  calibrationBytes?: number;
  /** seed of the texts of the calibration. Default 60 */
  texts?: number;
}

async function conversionOf({
  structure = "lowrank",
  budget = 0.6,
  texts = 60,
  ...ways
}: Ways): Promise<Converted & { model: Model }> {
  const model = tinyModel() as Model;
  const calibration = hashedCalibration({
    inputs: () => windowInputs(windowsFrom(texts), { samples: COUNT, batch: 8 }),
    forward: (stepped: Model, ids: tf.Tensor) => languageHidden(stepped, ids as tf.Tensor2D),
    total: COUNT,
    unit: "windows" as const,
  });
  const converted = await resultOf(
    convertModel(model, {
      plan: (request) => planConversion(model, { structure, budget, ...request }),
      ...{ allocation: "uniform", init: "activation", seed: 1, searchSteps: 30, calibration, ...ways },
      signal: new AbortController().signal,
    }),
  );
  return { ...converted, model };
}

/** The relative error of hidden states, on other texts than those of the calibration. */
async function hiddenError(model: Model): Promise<number> {
  const dense = tinyModel() as Model;
  const error = tf.tidy(() => {
    const [own, whole] = [model, dense].map((each) => languageHidden(each, tokens(9, 8))) as [tf.Tensor, tf.Tensor];
    return tf.div(tf.norm(tf.sub(own, whole)), tf.norm(whole));
  });
  const [value = Number.NaN] = await error.data();
  error.dispose();
  dense.dispose();
  return value;
}

test("a sequential calibration leaves a smaller error of the model, and reports its damping", async () => {
  for (const structure of ["lowrank", "gblr"]) {
    const errors: number[] = [];
    for (const sequential of [false, true]) {
      const { model, conversion, damping, rows } = await conversionOf({ structure, sequential });
      errors.push(await hiddenError(model));
      expect(damping).toBe(sequential ? 1e-4 : (undefined as never));
      expect(rows).toBe(COUNT * TINY.n_positions);
      expect(conversion.totals.share).toBeLessThanOrEqual(0.6);
      model.dispose();
    }
    const [plain, sequential] = errors as [number, number];
    expect(sequential).toBeLessThan(0.95 * plain);
  }
});

let areMade = false;
/** The first search makes tensors that all searches share. */
async function makeSharedTensors(): Promise<void> {
  if (!areMade) (await conversionOf(WAYS[0] as Ways)).model.dispose();
  areMade = true;
}

const WAYS: Required<Pick<Ways, "structure" | "init" | "allocation" | "sequential">>[] = [
  { structure: "gblr", init: "search", allocation: "loss", sequential: true },
  { structure: "gblr", init: "search", allocation: "global", sequential: false },
  { structure: "gblr", init: "activation", allocation: "loss", sequential: false },
  { structure: "lowrank", init: "fwsvd", allocation: "loss", sequential: true },
  { structure: "lowrank", init: "asvd", allocation: "uniform", sequential: true },
  { structure: "lowrank", init: "svd", allocation: "loss", sequential: false },
  { structure: "monarch", init: "svd", allocation: "loss", sequential: true },
];

test.each(WAYS)(
  "$structure by $init, allocation $allocation, sequential $sequential: within the budget",
  async (ways) => {
    await makeSharedTensors();
    const before = tf.memory().numTensors;
    const { model, conversion, plan } = await conversionOf(ways);
    const planned = plan.layers.reduce((sum, { allowed, rows }) => sum + allowed * rows, 0);
    expect(conversion.totals.cost).toBeLessThanOrEqual(planned);
    expect(conversion.totals.share).toBeLessThanOrEqual(0.6);
    expect(plan.totals.share).toBeGreaterThan(0.5);
    for (const [i, { cost }] of conversion.layers.entries())
      expect(cost).toBeLessThanOrEqual(plan.layers[i]?.allowed as number);
    expect(await hiddenError(model)).toBeLessThan(1);
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  },
);

test("layers that stay dense are refitted to what they see, which leaves a smaller error of the model", async () => {
  const { model, conversion } = await conversionOf({ allocation: "loss", sequential: true, budget: 0.8 });
  const stay = conversion.layers.filter(({ structure }) => structure === "dense");
  const changed = stay.filter(({ error }) => error > 0);
  expect(changed.length).toBeGreaterThan(0);
  for (const { error, outputError, cost, dense } of stay) {
    expect(error).toBeLessThan(1);
    expect({ outputError, cost }).toEqual({ outputError: 0, cost: dense });
  }
  const refitted = await hiddenError(model);
  const before = tinyModel() as Model;
  for (const { name } of changed) model.parameter(`${name}.weight`).assign(before.parameter(`${name}.weight`));
  expect(refitted).toBeLessThan(await hiddenError(model));
  before.dispose();
  model.dispose();
});

test("fwsvd weighs inputs by squared gradients on the calibration data, and is refused without them", async () => {
  const [fisher, plain] = [await conversionOf({ init: "fwsvd" }), await conversionOf({ init: "svd" })];
  for (const [i, { error }] of fisher.conversion.layers.entries()) {
    // By entries, plain SVD is the optimum.
    expect(error).toBeGreaterThan(plain.conversion.layers[i]?.error as number);
  }
  for (const { model } of [fisher, plain]) model.dispose();
  const model = tinyModel() as Model;
  const without = convertModel(model, {
    plan: (request) => planConversion(model, { structure: "lowrank", budget: 0.6, ...request }),
    ...{ allocation: "uniform", init: "fwsvd", seed: 1, searchSteps: 1, signal: new AbortController().signal },
  });
  await expect(resultOf(without)).rejects.toThrow(/has no importances of its inputs/);
  model.dispose();
});

test("finished layers are put in place only for the same calibration data", async () => {
  for (const sequential of [false, true]) {
    const finished = new FinishedLayers(folder(sequential ? "sequential" : "together"), "test");
    const first = await conversionOf({ sequential, finished });
    const again = await conversionOf({ sequential, finished });
    expect(again.earlierSeconds).toBeGreaterThan(0);
    expect(again.conversion.layers).toEqual(first.conversion.layers);
    const other = await conversionOf({ sequential, finished, texts: 600 });
    expect(other.earlierSeconds).toBeUndefined();
    expect(other.conversion.layers[0]?.outputError).not.toBe(first.conversion.layers[0]?.outputError as number);
    for (const { model } of [first, again, other]) model.dispose();
  }
});

test.each([
  ["sequential", { sequential: true }],
  ["split", { allocation: "global", calibrationBytes: 30_000 }],
  ["sensitive", { allocation: "loss", structure: "gblr" }],
] as [string, Ways][])(
  "a %s conversion has the same numbers whichever finished layers it is resumed with, and which are damaged",
  async (title, ways) => {
    const at = folder(`${title} subsets`);
    const finished = new FinishedLayers(at, "one conversion");
    const whole = await conversionOf({ ...ways, finished });
    const expected = await numbersOf(whole.model);
    whole.model.dispose();
    const files = readdirSync(at).toSorted();
    const kept = files.map((file) => readFileSync(join(at, file)));
    const subsets: ((i: number) => boolean)[] = [(i) => i % 2 === 0, (i) => i % 2 === 1, (i) => i > 3, () => false];
    for (const remains of subsets) {
      for (const [i, file] of files.entries()) {
        const bytes = kept[i] as Buffer;
        // Half of the others are gone, and half are cut off.
        if (remains(i)) writeFileSync(join(at, file), bytes);
        else if (i % 4 < 2) rmSync(join(at, file), { force: true });
        else writeFileSync(join(at, file), bytes.subarray(0, bytes.length - 9));
      }
      const before = tf.memory().numTensors;
      const { model } = await conversionOf({ ...ways, finished });
      expect(await numbersOf(model)).toEqual(expected);
      model.dispose();
      expect(tf.memory().numTensors).toBe(before);
    }
  },
);
