// Results of calibrations on disk: conversions that find them end as those that calibrate, bit by bit, without another
// forward pass; results of other data or models, and damaged files, are not used.

import { beforeAll, expect, test } from "bun:test";
import { readdirSync, truncateSync } from "node:fs";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { type Allocation, type Init, planConversion, windowInputs } from "../../../workbench/compress/index.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { languageHidden, type Model } from "../../../workbench/models/index.ts";
import { CalibrationCache } from "../../../workbench/pipeline/calibration/cache.ts";
import { hashedCalibration } from "../../../workbench/pipeline/calibration/hash.ts";
import { convertModel } from "../../../workbench/pipeline/convert.ts";
import { resultOf } from "../../../workbench/pipeline/stage.ts";
import { TINY, tinyModel } from "../../compress/tiny.ts";
import { sampleIds } from "../../engine/ops/operands.ts";
import { temporaryFolder } from "../../hub/temporary.ts";

beforeAll(() => openEngine());
const folder = temporaryFolder();

interface Ways {
  cache?: CalibrationCache;
  structure?: string;
  init?: Init;
  allocation?: Allocation;
  /** seed of the texts */
  texts?: number;
  calibrationBytes?: number;
}

async function conversionOf({ cache, structure = "lowrank", texts = 1, ...ways }: Ways) {
  const model = tinyModel() as Model;
  let passes = 0;
  const windows = {
    length: 4,
    context: TINY.n_positions,
    read: async (i: number) => sampleIds(10 * texts + i, TINY.n_positions + 1, TINY.vocab_size),
  };
  const calibration = hashedCalibration({
    inputs: () => windowInputs(windows, { samples: 4 }),
    forward: (stepped: Model, ids: tf.Tensor) => {
      passes++;
      return languageHidden(stepped, ids as tf.Tensor2D);
    },
    total: 4,
    unit: "windows" as const,
  });
  const { conversion, rows } = await resultOf(
    convertModel(model, {
      plan: (request) => planConversion(model, { structure, budget: 0.6, ...request }),
      ...{ allocation: "uniform", init: "activation", seed: 1, searchSteps: 4, calibration, ...ways },
      cache: cache?.of(calibration),
      signal: new AbortController().signal,
    }),
  );
  const layers = conversion.layers.map(({ seconds: _, ...layer }) => layer);
  model.dispose();
  return { result: { layers, rows }, passes };
}

test("variants and later processes use what the first has computed", async () => {
  const place = folder("shared");
  const open = () => new CalibrationCache(place, { model: "tiny" });
  const first = await conversionOf({ cache: open() });
  expect(first.passes).toBe(4);
  // The first GBLR matrix makes tables that all share.
  await conversionOf({ structure: "gblr" });
  const before = tf.memory().numTensors;
  for (const ways of [{}, { structure: "gblr" }, { allocation: "global" }, { calibrationBytes: 1 }] as Ways[]) {
    const alone = await conversionOf(ways);
    const shared = await conversionOf({ ...ways, cache: open() });
    expect(alone.passes).toBeGreaterThan(0);
    expect(shared.passes).toBe(0);
    expect(shared.result).toEqual(alone.result);
  }
  expect(tf.memory().numTensors).toBe(before);
});

test("energies and importances from gradients are kept too", async () => {
  const cache = new CalibrationCache(folder("gradients"), { model: "tiny" });
  const ways: Ways[] = [{ allocation: "loss" }, { allocation: "loss", init: "fwsvd" }, { init: "fwsvd" }];
  await conversionOf({ ...(ways[0] as Ways), cache });
  const before = tf.memory().numTensors;
  for (const way of ways) {
    const shared = await conversionOf({ ...way, cache });
    expect(shared.passes).toBe(0);
    expect(shared.result).toEqual((await conversionOf(way)).result);
  }
  expect(tf.memory().numTensors).toBe(before);
});

test("results that were half overwritten with those of other texts are not read", async () => {
  const cache = new CalibrationCache(folder("overwritten"), { model: "tiny" });
  const dataOf = (seed: number) =>
    hashedCalibration({
      async *inputs() {
        yield tf.tensor1d(sampleIds(seed, 4, TINY.vocab_size), "int32");
      },
      forward: (_, input) => input,
      total: 1,
      unit: "windows",
    });
  const [one, other] = [1, 2].map((value) => tf.fill([2, 2], value)) as [tf.Tensor, tf.Tensor];
  const disposed = tf.zeros([2, 2]);
  disposed.dispose();
  const first = cache.of(dataOf(1));
  await first.write("covariances", { tensors: new Map([["a", one]]), rows: 1 });
  const interrupted = new Map(Object.entries({ a: other, b: disposed }));
  await expect(cache.of(dataOf(2)).write("covariances", { tensors: interrupted, rows: 1 })).rejects.toThrow("disposed");
  expect(await first.read("covariances")).toBeUndefined();
  for (const each of [one, other]) each.dispose();
});

test("results of other texts or models and damaged files are computed again", async () => {
  const place = folder("others");
  const open = (model = "tiny") => new CalibrationCache(place, { model });
  await conversionOf({ cache: open() });
  const other = await conversionOf({ cache: open(), texts: 2 });
  expect(other.passes).toBe(4);
  expect(other.result).toEqual((await conversionOf({ texts: 2 })).result);
  // The index is now of the second texts.
  expect((await conversionOf({ cache: open(), texts: 2 })).passes).toBe(0);
  expect((await conversionOf({ cache: open("another"), texts: 2 })).passes).toBe(4);
  const [file = ""] = readdirSync(place).filter((name) => name.endsWith(".safetensors"));
  truncateSync(join(place, file), 100);
  const repaired = await conversionOf({ cache: open("another"), texts: 2 });
  expect(repaired.passes).toBe(4);
  expect(repaired.result).toEqual(other.result);
  await open().remove();
  expect(readdirSync(folder(""))).not.toContain("others");
});
