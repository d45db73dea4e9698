// rotary against complex numbers in float64: whole and partial rotations, odd sizes, layouts, and what is refused.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { rotary } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";
import * as f64 from "./float64-decoder.ts";
import { expectClose, expectRefusal, type Operand, runOp, sample } from "./operands.ts";

const angleRows = (seed: number, tokens: number, half: number): Float64Array[] =>
  Array.from({ length: tokens }, (_, token) => sample(seed + token, [half], 3).values);

/** cos or sin of the angles as a tensor (tokens, half). */
const tableOf = (angles: Float64Array[], half: number, f: (angle: number) => number): tf.Tensor =>
  tf.tensor(Float32Array.from(angles.flatMap((row) => Array.from(row, f))), [angles.length, half]);

async function check(x: Operand, half: number): Promise<void> {
  const [tokens, headDim] = x.shape.slice(2) as [number, number];
  const angles = angleRows(40, tokens, half);
  const [cos, sin] = [tableOf(angles, half, Math.cos), tableOf(angles, half, Math.sin)];
  const { y, shape, dy, gradients } = await runOp({ x }, ({ x }) => rotary(x as tf.Tensor, cos, sin));
  tf.dispose([cos, sin]);
  const value = ({ x }: { x: Float64Array }) => f64.rotary({ x, angles, headDim });
  expect(shape).toEqual(x.shape);
  expectClose(y, value({ x: x.values }));
  expectClose(gradients.x as Float32Array, f64.differences({ x: x.values }, value, dy).x);
}

forEachEngine("rotary", () => {
  test("rotates all components", async () => {
    await check(sample(1, [2, 3, 5, 8]), 4);
    await check(sample(2, [1, 1, 1, 2]), 1);
    await check(sample(3, [1, 2, 3, 64]), 32);
  });

  test("leaves components behind the first r unchanged", async () => {
    await check(sample(4, [2, 2, 3, 8]), 2);
    await check(sample(5, [1, 2, 3, 7]), 3);
    await check(sample(6, [1, 3, 2, 48]), 17);
  });

  test("takes no tokens, no batch and angles of no component", async () => {
    await check(sample(7, [2, 3, 0, 4]), 2);
    await check(sample(7, [0, 3, 2, 4]), 2);
    await check(sample(7, [1, 2, 3, 4]), 0);
  });

  test("turns back by the opposite angles", async () => {
    const angles = angleRows(11, 4, 3);
    const x = sample(12, [2, 2, 4, 6]);
    const [back, forth] = tf.tidy(() => {
      const [cos, sin] = [tableOf(angles, 3, Math.cos), tableOf(angles, 3, Math.sin)];
      const rotated = rotary(tf.tensor(Float32Array.from(x.values), x.shape), cos, sin);
      return [rotary(rotated, cos, tf.neg(sin)), rotated];
    });
    expectClose(await (back as tf.Tensor).data(), x.values, { tolerance: 1e-6 });
    expect(Array.from(await (forth as tf.Tensor).data())).not.toEqual(Array.from(x.values));
    tf.dispose([back, forth]);
  });

  test("rotates heads that are a view of (batch, tokens, heads, head_dim)", async () => {
    const angles = angleRows(21, 5, 4);
    const [cos, sin] = [tableOf(angles, 4, Math.cos), tableOf(angles, 4, Math.sin)];
    const all = tf.tidy(() => tf.reshape(tf.range(0, 2 * 5 * 3 * 8, 1, "float32"), [2, 5, 3, 8]));
    const heads = tf.transpose(all, [0, 2, 1, 3]);
    const copy = tf.tensor(await heads.data(), heads.shape);
    const [ofView, ofCopy] = [rotary(heads, cos, sin), rotary(copy, cos, sin)];
    expectClose(await ofView.data(), await ofCopy.data(), { tolerance: 1e-7 });
    tf.dispose([cos, sin, all, heads, copy, ofView, ofCopy]);
  });

  test("holds for random sizes", async () => {
    const size = fc.integer({ min: 1, max: 5 });
    const sizes = fc.record({
      batch: size,
      heads: size,
      tokens: size,
      half: fc.integer({ min: 1, max: 20 }),
      rest: size,
    });
    await fc.assert(
      fc.asyncProperty(sizes, ({ batch, heads, tokens, half, rest }) =>
        check(sample(half, [batch, heads, tokens, 2 * half + rest - 1]), half),
      ),
      { seed: 7, numRuns: 8 },
    );
  });

  test("names what does not fit", () => {
    tf.tidy(() => {
      const x = tf.ones([2, 3, 5, 8]);
      const table = tf.ones([5, 4]);
      expectRefusal(
        () => rotary(tf.ones([5, 8]), table, table),
        "rotary: x must be float32 (batch, heads, tokens, head_dim), got float32 (5, 8)",
      );
      expectRefusal(
        () => rotary(x, tf.ones([4, 4]), table),
        "rotary: cos must be float32 (5, r/2), got float32 (4, 4)",
      );
      expectRefusal(() => rotary(x, table, tf.ones([5, 3])), "rotary: sin must be float32 (5, 4), got float32 (5, 3)");
      expectRefusal(
        () => rotary(x, tf.ones([5, 5]), tf.ones([5, 5])),
        "rotary: the width of cos must be at most half of head_dim, 4, got 5",
      );
    });
  });
});
