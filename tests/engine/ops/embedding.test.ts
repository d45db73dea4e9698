// embedding against float64: ids of any shape, ids that occur twice, ids outside the table.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { embedding } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";
import * as f64 from "./float64.ts";
import { expectClose, expectRefusal, runOp, sample, sampleIds } from "./operands.ts";

async function check(rows: number, width: number, shape: number[]): Promise<void> {
  const table = sample(1, [rows, width]);
  const count = shape.reduce((product, size) => product * size, 1);
  const ids = sampleIds(2, count, rows);
  const idTensor = tf.tensor(ids, shape, "int32");
  const run = await runOp({ table }, ({ table }) => embedding(table as tf.Tensor, idTensor));
  idTensor.dispose();
  expect(run.shape).toEqual([...shape, width]);
  expectClose(run.y, f64.embedding(table.values, ids, width), { tolerance: 0 });
  expectClose(run.gradients.table as Float32Array, f64.embeddingGradient(run.dy, ids, { rows, width }));
}

forEachEngine("embedding", (_, { name }) => {
  test("gives rows and gradients for ids of 0 to 3 dimensions", async () => {
    for (const shape of [[], [1], [6], [3, 5], [2, 3, 4]]) {
      await check(7, 5, shape);
    }
  });

  test("takes no ids", async () => {
    await check(4, 3, [0]);
    await check(4, 3, [2, 0]);
  });

  test("adds up gradients of an id that occurs often", async () => {
    await check(2, 3, [50]);
  });

  test("holds for random sizes", async () => {
    const size = fc.integer({ min: 1, max: 30 });
    await fc.assert(
      fc.asyncProperty(size, size, size, (rows, width, count) => check(rows, width, [count])),
      { seed: 7, numRuns: 10 },
    );
  });

  if (name !== "webgpu") {
    test("fails on an id outside the table on the CPU", () => {
      tf.tidy(() => {
        const table = tf.ones([4, 3]);
        expect(() => embedding(table, tf.tensor1d([1, 4], "int32")).dataSync()).toThrow(/index/);
        expect(() => embedding(table, tf.tensor1d([-1], "int32")).dataSync()).toThrow(/index/);
      });
    });
  }

  test("names what does not fit", () => {
    tf.tidy(() => {
      const [table, ids] = [tf.ones([4, 3]), tf.zeros([2], "int32")];
      const flat = tf.ones([4]);
      expectRefusal(() => embedding(flat, ids), "embedding: table must be float32 (rows, width), got float32 (4)");
      expectRefusal(() => embedding(table, flat), "embedding: ids must be int32 (...), got float32 (4)");
    });
  });
});
