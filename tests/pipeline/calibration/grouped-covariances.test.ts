// Conversions whose covariances do not fit in memory together: the model runs over the data once for each group of
// layers, and the result is that of one pass.

import { beforeAll, describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { type Allocation, planConversion, windowInputs } from "../../../workbench/compress/index.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { languageHidden } from "../../../workbench/models/index.ts";
import { hashedCalibration } from "../../../workbench/pipeline/calibration/hash.ts";
import { convertModel } from "../../../workbench/pipeline/convert.ts";
import { resultOf } from "../../../workbench/pipeline/stage.ts";
import { TINY, tinyModel } from "../../compress/tiny.ts";

beforeAll(() => openEngine());

const windows = {
  length: 3,
  context: TINY.n_positions,
  read: async (i: number) => Int32Array.from({ length: TINY.n_positions + 1 }, (_, at) => (7 * at + 3 * i) % 50),
};

async function conversionWith(calibrationBytes: number | undefined, allocation: Allocation, structure: string) {
  const model = tinyModel();
  let passes = 0;
  const calibration = hashedCalibration({
    inputs: () => {
      passes++;
      return windowInputs(windows, { samples: 3 });
    },
    forward: (_: unknown, ids: tf.Tensor) => languageHidden(model, ids as tf.Tensor2D),
    total: 3,
    unit: "windows" as const,
  });
  const { conversion, rows } = await resultOf(
    convertModel(model, {
      plan: (request) => planConversion(model, { structure, budget: 0.5, layers: ["h."], ...request }),
      ...{ allocation, init: "activation" as const, seed: 1, searchSteps: 4, signal: new AbortController().signal },
      ...{ calibration, calibrationBytes },
    }),
  );
  model.dispose();
  const layers = conversion.layers.map(({ seconds: _, ...layer }) => layer);
  return { layers, totals: conversion.totals, counts: conversion.counts, rows, passes };
}

describe.each(["uniform", "global", "loss"] as const)("with a %s allocation", (allocation) => {
  test.each(["lowrank", "pifa", "gblr"])(
    "%s layers are the same however many passes the data takes",
    async (structure) => {
      const { passes, ...whole } = await conversionWith(undefined, allocation, structure);
      const before = tf.memory().numTensors;
      // Gradients take another pass.
      expect(passes).toBe(allocation === "loss" ? 2 : 1);
      expect(whole.rows).toBe(3 * TINY.n_positions);
      // The first holds one block of two, the second one layer.
      for (const [bytes, least] of [
        [30_000, 2],
        [1, 8],
      ] as const) {
        const { passes: several, ...grouped } = await conversionWith(bytes, allocation, structure);
        expect(several).toBeGreaterThanOrEqual(least);
        expect(grouped).toEqual(whole);
      }
      expect(tf.memory().numTensors).toBe(before);
    },
  );
});

test.each([false, true])(
  "a conversion whose data fails at any time leaves no tensors (sequential: %p)",
  async (sequential) => {
    const model = tinyModel();
    const conversion = (failsAt: number) => {
      let read = 0;
      async function* inputs() {
        for await (const input of windowInputs(windows, { samples: 3 })) {
          if (read++ === failsAt) {
            input.dispose();
            throw new Error("the disk is gone");
          }
          yield input;
        }
      }
      const forward = (of: unknown, ids: tf.Tensor) =>
        languageHidden((sequential ? of : model) as typeof model, ids as tf.Tensor2D);
      const calibration = hashedCalibration({ inputs, forward, total: 3, unit: "windows" as const });
      return resultOf(
        convertModel(model, {
          plan: (request) => planConversion(model, { structure: "lowrank", budget: 0.5, layers: ["h."], ...request }),
          ...{ allocation: "loss" as const, init: "fwsvd" as const, seed: 1, searchSteps: 4, sequential },
          ...{ calibration, calibrationBytes: 30_000, signal: new AbortController().signal },
        }),
      );
    };
    const before = tf.memory().numTensors;
    for (const failsAt of [0, 1, 2, 3, 4, 5, 6, 7, 8]) {
      const error = await conversion(failsAt).catch((thrown: Error) => thrown.message);
      if (typeof error !== "string") break;
      expect(error).toBe("the disk is gone");
      expect(tf.memory().numTensors, `after ${failsAt} inputs`).toBe(before);
    }
    model.dispose();
  },
);
