// Kernels that move values and compute nothing, or only sums of rows: gather, segment sums, slices, splits, tiles.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { forEachEngine } from "../engines.ts";
import { run } from "./run.ts";

function rampOf(shape: number[], dtype: "int32" | "float32" = "float32"): tf.Tensor {
  const size = tf.util.sizeFromShape(shape);
  return tf.tensor(
    Array.from({ length: size }, (_, i) => (i % 7) - 3),
    shape,
    dtype,
  );
}

forEachEngine("rows by number", () => {
  test("segment sums leave out rows whose number is outside", async () => {
    const { values, shape } = await run(() =>
      tf.unsortedSegmentSum(
        tf.tensor2d([
          [1, 2],
          [3, 4],
          [5, 6],
          [7, 8],
          [9, 10],
        ]),
        tf.tensor1d([2, -1, 0, 2, 5], "int32"),
        3,
      ),
    );
    expect(shape).toEqual([3, 2]);
    expect(Array.from(values)).toEqual([5, 6, 0, 0, 8, 10]);
  });

  test("segment sums of no rows are zeros", async () => {
    const { values } = await run(() => tf.unsortedSegmentSum(tf.zeros([0, 2]), tf.tensor1d([], "int32"), 2));
    expect(Array.from(values)).toEqual([0, 0, 0, 0]);
  });

  test("gather takes rows, columns, and a row of each batch", async () => {
    const table = tf.tensor2d([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const ids = tf.tensor2d(
      [
        [1, 0],
        [1, 1],
      ],
      [2, 2],
      "int32",
    );
    const rows = await run(() => tf.gather(table, ids));
    expect(rows.shape).toEqual([2, 2, 3]);
    expect(Array.from(rows.values)).toEqual([4, 5, 6, 1, 2, 3, 4, 5, 6, 4, 5, 6]);
    const columns = await run(() => tf.gather(table, tf.tensor1d([2, 0], "int32"), 1));
    expect(Array.from(columns.values)).toEqual([3, 1, 6, 4]);
    const each = await run(() => tf.gather(table, tf.tensor2d([[2], [0]], [2, 1], "int32"), 1, 1));
    expect(Array.from(each.values)).toEqual([3, 4]);
    tf.dispose([table, ids]);
  });

  test("gather of int32 keeps the type, gather of nothing is empty", async () => {
    const { values, dtype } = await run(() => tf.gather(rampOf([4], "int32"), tf.tensor1d([3, 0], "int32")));
    expect(dtype).toBe("int32");
    expect(Array.from(values)).toEqual([0, -3]);
    expect((await run(() => tf.gather(rampOf([4, 2]), tf.tensor1d([], "int32")))).shape).toEqual([0, 2]);
  });
});

forEachEngine("copies", () => {
  /** 0, 1, 2, … as (2, 3, 4, 5) */
  const block = () => tf.reshape(tf.range(0, 120), [2, 3, 4, 5]);

  test("slice any axes, the last ones whole or not", async () => {
    const inner = await run(() => tf.slice(block(), [1, 0, 2, 1], [1, 2, 2, 3]));
    expect(Array.from(inner.values)).toEqual([71, 72, 73, 76, 77, 78, 91, 92, 93, 96, 97, 98]);
    const outer = await run(() => tf.slice(block(), [1, 1], [1, -1]));
    expect(outer.shape).toEqual([1, 2, 4, 5]);
    expect(Array.from(outer.values)).toEqual(Array.from({ length: 40 }, (_, i) => 80 + i));
    expect((await run(() => tf.slice(block(), [0, 1], [2, 0]))).shape).toEqual([2, 0, 4, 5]);
  });

  test("refuse slices that reach outside", () => {
    expect(() => tf.tidy(() => tf.slice(tf.ones([2, 3]), [1, 1], [1, 3]))).toThrow(/slice/i);
  });

  test("split into equal and unequal parts along any axis", async () => {
    for (const [sizes, axis] of [
      [[1, 2], 1],
      [2, 0],
      [[3, 0, 2], -1],
    ] as const) {
      const parts = tf.tidy(() => tf.split(block(), typeof sizes === "number" ? sizes : [...sizes], axis));
      expect(Array.from((await run(() => tf.concat(parts, axis))).values)).toEqual([...Array(120).keys()]);
      tf.dispose(parts);
    }
  });

  test("unstack drops its axis and stack puts it back", async () => {
    for (const axis of [0, 2, -1]) {
      const parts = tf.tidy(() => tf.unstack(block(), axis));
      expect(parts[0]?.shape).toEqual([2, 3, 4, 5].toSpliced(axis, 1));
      const at = axis < 0 ? axis + 4 : axis;
      expect(Array.from((await run(() => tf.stack(parts, at))).values)).toEqual([...Array(120).keys()]);
      tf.dispose(parts);
    }
  });

  test("tile repeats axes, whole blocks and single values", async () => {
    const small = () =>
      tf.tensor2d([
        [1, 2],
        [3, 4],
      ]);
    expect(Array.from((await run(() => tf.tile(small(), [1, 2]))).values)).toEqual([1, 2, 1, 2, 3, 4, 3, 4]);
    expect(Array.from((await run(() => tf.tile(small(), [3, 1]))).values)).toEqual([
      1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4,
    ]);
    expect(Array.from((await run(() => tf.tile(tf.tensor2d([[5], [6]]), [2, 3]))).values)).toEqual([
      5, 5, 5, 6, 6, 6, 5, 5, 5, 6, 6, 6,
    ]);
    const { values, dtype } = await run(() => tf.tile(tf.tensor1d([true, false], "bool"), [2]));
    expect(dtype).toBe("bool");
    expect(Array.from(values)).toEqual([1, 0, 1, 0]);
    expect((await run(() => tf.tile(small(), [0, 2]))).shape).toEqual([0, 4]);
  });
});
