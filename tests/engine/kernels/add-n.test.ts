// Sums of many tensors at once, more than a WebGPU program can bind, on every engine.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { forEachEngine } from "../engines.ts";
import { liveTensors, read } from "../ops/operands.ts";

forEachEngine("addN", () => {
  for (const count of [1, 7, 8, 14, 40]) {
    test(`adds ${count} tensors up`, async () => {
      const before = liveTensors();
      const terms = Array.from({ length: count }, (_, i) => tf.tensor1d([i, 1, 2 * i]));
      const sum = tf.addN(terms);
      const whole = (count * (count - 1)) / 2;
      expect(Array.from(await read(sum))).toEqual([whole, count, 2 * whole]);
      tf.dispose([sum, ...terms]);
      expect(liveTensors()).toEqual(before);
    });
  }
});
