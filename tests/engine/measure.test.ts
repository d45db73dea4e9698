// The measuring helpers against what can be known beforehand: medians, a budget that is kept, no tensor left behind.
// How fast the machine should be cannot be known, so no rate is asserted.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { measureBandwidth, measureMatMul, median, secondsPerCall } from "../../workbench/engine/core/measure.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";

test("the median of an odd count is its middle value, of an even count the mean of the middle two", () => {
  expect(median([3])).toBe(3);
  expect(median([9, 1, 5])).toBe(5);
  expect(median([4, 1, 10, 2])).toBe(3);
  expect(() => median([])).toThrow(RangeError);
});

test("the median leaves as many values below as above, and its argument alone", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -100, max: 100 }), { minLength: 1 }), (values) => {
      const before = [...values];
      const middle = median(values);
      const below = values.filter((value) => value < middle).length;
      const above = values.filter((value) => value > middle).length;
      expect(Math.abs(below - above)).toBeLessThanOrEqual(values.filter((value) => value === middle).length);
      expect(values).toEqual(before);
    }),
  );
});

test("a call slower than the budget is made once", async () => {
  const engine = await openEngine({ engine: "cpu" });
  let calls = 0;
  const slow = () => {
    calls++;
    Bun.sleepSync(30);
    return tf.scalar(1);
  };
  const seconds = await secondsPerCall(engine, slow, { budget: 0.01 });
  expect(calls).toBe(1);
  expect(seconds).toBeGreaterThanOrEqual(0.029);
});

test("the time of a call is that of the call: a sleep is measured as long as it is", async () => {
  const engine = await openEngine({ engine: "cpu" });
  const nap = () => {
    Bun.sleepSync(5);
    return tf.scalar(1);
  };
  const seconds = await secondsPerCall(engine, nap, { budget: 0.2 });
  expect(seconds).toBeGreaterThanOrEqual(0.0049);
  expect(seconds).toBeLessThan(0.05);
});

test("a product too slow for the budget is measured on halved matrices", async () => {
  const engine = await openEngine({ engine: "cpu" });
  const { size, gflops } = await measureMatMul(engine, { size: 2048, budget: 0.2 });
  expect(size).toBeLessThan(2048);
  expect(Math.log2(2048 / size) % 1).toBe(0);
  expect(gflops).toBeGreaterThan(0);
});

test("measuring leaves no tensor behind", async () => {
  const engine = await openEngine({ engine: "wasm" });
  const before = tf.memory().numTensors;
  await measureMatMul(engine, { size: 64, budget: 0.05 });
  await measureBandwidth(engine, { size: 1000, budget: 0.05 });
  expect(tf.memory().numTensors).toBe(before);
});
