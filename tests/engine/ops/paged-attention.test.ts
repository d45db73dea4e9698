// pagedAttention where the engine has it: one query each of sequences whose keys are in scattered pages, compared with
// attention in float64. scatterRows: rows are where they should be, and nobody else's memory is written.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { seededUniform } from "../../../workbench/engine/core/random.ts";
import { canAttendPages, canWriteRows, pagedAttention, scatterRows } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";

const HEADS = 6;
const KEY_HEADS = 2;
const WIDTH = 20;
const SIZE = 4;
const ROW = KEY_HEADS * WIDTH;

function randoms(count: number, seed: number): Float32Array {
  const uniform = seededUniform(seed);
  return Float32Array.from({ length: count }, () => 4 * uniform() - 2);
}

/** Attention of one query in float64: the definition. */
function attended(q: Float32Array, keys: Float32Array[], values: Float32Array[], scale: number): number[] {
  const scores = keys.map((key) => scale * key.reduce((sum, value, i) => sum + value * (q[i] as number), 0));
  const most = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - most));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return Array.from({ length: WIDTH }, (_, i) =>
    values.reduce((sum, value, key) => sum + ((weights[key] as number) / total) * (value[i] as number), 0),
  );
}

forEachEngine("attention over pages", () => {
  test.each([
    { lengths: [1, 9, 16], window: undefined, scale: undefined },
    { lengths: [7, 12, 4], window: 5, scale: 0.3 },
    { lengths: [3, 13, 5], window: 100, scale: undefined },
  ])("is that of each sequence alone, or is refused: %j", async ({ lengths, window, scale }) => {
    const pages = [
      [5, 2, 7, 0],
      [1, 6, 3, 9],
      [4, 8, 10, 11],
    ];
    const [pool, values, queries] = [
      randoms(12 * SIZE * ROW, 1),
      randoms(12 * SIZE * ROW, 2),
      randoms(3 * HEADS * WIDTH, 3),
    ];
    const q = tf.tensor4d(queries, [1, HEADS, 3, WIDTH]);
    const operands = {
      k: tf.tensor2d(pool, [12 * SIZE, ROW]),
      v: tf.tensor2d(values, [12 * SIZE, ROW]),
      pages: tf.tensor2d(pages, undefined, "int32"),
      lengths: tf.tensor1d([...lengths], "int32"),
    };
    const options = { size: SIZE, ...(window && { window }), ...(scale && { scale }) };
    if (!canAttendPages()) {
      expect(() => pagedAttention(q, operands, options)).toThrow("does not have it");
      tf.dispose([q, operands]);
      return;
    }
    const y = pagedAttention(q, operands, options);
    expect(y.shape).toEqual([1, HEADS, 3, WIDTH]);
    const found = await y.data();
    for (let head = 0; head < HEADS; head++) {
      for (let sequence = 0; sequence < 3; sequence++) {
        const length = lengths[sequence] as number;
        const rows = Array.from({ length }, (_, i) => {
          const slot = (pages[sequence]?.[Math.floor(i / SIZE)] as number) * SIZE + (i % SIZE);
          return slot * ROW + Math.floor((head * KEY_HEADS) / HEADS) * WIDTH;
        }).slice(-(window ?? length));
        const own = (from: Float32Array) => rows.map((row) => from.subarray(row, row + WIDTH));
        const at = (head * 3 + sequence) * WIDTH;
        const expected = attended(
          queries.subarray(at, at + WIDTH),
          own(pool),
          own(values),
          scale ?? 1 / Math.sqrt(WIDTH),
        );
        for (const [i, value] of expected.entries())
          expect(Math.abs((found[at + i] as number) - value)).toBeLessThan(1e-5);
      }
    }
    tf.dispose([q, operands, y]);
  });

  test("refuses pages that the pool does not have, and lengths beyond the pages", () => {
    if (!canAttendPages()) return;
    const q = tf.zeros([1, HEADS, 1, WIDTH]);
    const pool = tf.zeros([8, ROW]);
    const run = (page: number, length: number) => () =>
      tf.tidy(() =>
        pagedAttention(
          q,
          {
            k: pool,
            v: pool,
            pages: tf.tensor2d([[page]], undefined, "int32"),
            lengths: tf.tensor1d([length], "int32"),
          },
          { size: SIZE },
        ),
      );
    expect(run(2, 1)).toThrow("the pool has 2 pages, got page 2");
    expect(run(-1, 1)).toThrow("got page -1");
    expect(run(0, 5)).toThrow("1 to 4 keys, got 5");
    expect(run(0, 0)).toThrow("1 to 4 keys, got 0");
    tf.dispose([q, pool]);
  });

  test("reads rows that were scattered into a pool, without writing to a tensor that shares its memory", async () => {
    const start = tf.zeros([4, 2]);
    const buffer = tf.variable(start, false) as tf.Variable;
    const [rows, ids] = [tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor1d([3, 1], "int32")];
    if (!canWriteRows()) expect(() => scatterRows(buffer, rows, ids)).toThrow(/cannot write into a tensor/);
    else {
      scatterRows(buffer, rows, ids);
      expect([...(await buffer.data())]).toEqual([0, 0, 3, 4, 0, 0, 1, 2]);
      expect([...(await start.data())]).toEqual(Array(8).fill(0));
      expect(() => scatterRows(buffer, rows, tf.tensor1d([0], "int32"))).toThrow(/rows must be float32 \(1, 2\)/);
    }
    tf.dispose([start, buffer, rows, ids]);
  });
});
