// writeRows where the engine can: the rows are where they should be, and nobody else's memory is written.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { canWriteRows, writeRows } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";

forEachEngine("writeRows", () => {
  test("puts rows in their place, and leaves a tensor that shares the memory as it was; or refuses", async () => {
    const start = tf.zeros([2, 3, 2]);
    const buffer = tf.variable(start, false);
    const rows = tf.tensor3d([1, 2, 3, 4], [2, 1, 2]);
    if (!canWriteRows()) {
      expect(() => writeRows(buffer, rows, 1)).toThrow(/cannot write into a tensor/);
    } else {
      writeRows(buffer, rows, 1);
      expect([...(await buffer.data())]).toEqual([0, 0, 1, 2, 0, 0, 0, 0, 3, 4, 0, 0]);
      expect([...(await start.data())]).toEqual(Array(12).fill(0));
      writeRows(
        buffer,
        tf.tidy(() => tf.mul(rows, 10)),
        2,
      );
      expect([...(await buffer.data())]).toEqual([0, 0, 1, 2, 10, 20, 0, 0, 3, 4, 30, 40]);
      expect(() => writeRows(buffer, rows, 3)).toThrow("writeRows: at must be from 0 to 2, got 3");
      expect(() => writeRows(buffer, start.slice([0, 0, 0], [1, 1, 2]), 0)).toThrow(/rows must be float32 \(2, 1, 2\)/);
    }
    tf.dispose([start, buffer, rows]);
  });
});
