// attention against float64: causal and not, more keys than queries, heads that share keys, windows, large scores, odd
// sizes, and what is refused.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { attention } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";
import * as f64 from "./float64.ts";
import { expectClose, expectRefusal, runOp, sample } from "./operands.ts";

interface Case {
  batch: number;
  heads: number;
  /** default heads */
  keyHeads?: number;
  tokens: number;
  keyTokens: number;
  headDim: number;
  valueDim: number;
  causal: boolean;
  /** default 1/√headDim */
  scale?: number;
  window?: number;
  /** of the sampled operands */
  spread?: number;
}

async function check({ spread = 1, ...sizes }: Case): Promise<void> {
  const { batch, heads, keyHeads = heads, tokens, keyTokens, headDim, valueDim, causal, scale, window } = sizes;
  const q = sample(1, [batch, heads, tokens, headDim], spread);
  const k = sample(2, [batch, keyHeads, keyTokens, headDim], spread);
  const v = sample(3, [batch, keyHeads, keyTokens, valueDim]);
  const options = { causal, ...(scale === undefined ? {} : { scale }), ...(window === undefined ? {} : { window }) };
  const { y, shape, dy, gradients } = await runOp({ q, k, v }, ({ q, k, v }) =>
    attention(q as tf.Tensor, k as tf.Tensor, v as tf.Tensor, options),
  );
  const group = heads / keyHeads;
  const reference = {
    ...sizes,
    q: q.values,
    // A reference with as many heads of keys: each one repeated for its group.
    k: repeated(k.values, keyTokens * headDim, group),
    v: repeated(v.values, keyTokens * valueDim, group),
    heads: batch * heads,
    scale: scale ?? 1 / Math.sqrt(headDim),
  };
  expect(shape).toEqual([batch, heads, tokens, valueDim]);
  expectClose(y, f64.attention(reference), { terms: v.values });
  const expected = f64.attentionGradients(reference, dy);
  expectClose(gradients.q as Float32Array, expected.q, { terms: dy });
  expectClose(gradients.k as Float32Array, summed(expected.k, keyTokens * headDim, group), { terms: dy });
  expectClose(gradients.v as Float32Array, summed(expected.v, keyTokens * valueDim, group), { terms: dy });
}

/** Each part of `size` values `times` times in a row. */
const repeated = (values: Float64Array, size: number, times: number): Float64Array =>
  Float64Array.from({ length: values.length * times }, (_, i) => {
    const part = Math.floor(i / (size * times));
    return values[part * size + (i % size)] as number;
  });

/** The sum of each `times` parts of `size` values in a row. */
function summed(values: Float64Array, size: number, times: number): Float64Array {
  const sums = new Float64Array(values.length / times);
  for (const [i, value] of values.entries()) {
    const at = Math.floor(i / (size * times)) * size + (i % size);
    sums[at] = (sums[at] as number) + value;
  }
  return sums;
}

const SMALL: Case = { batch: 2, heads: 3, tokens: 5, keyTokens: 5, headDim: 4, valueDim: 4, causal: false };

forEachEngine("attention", () => {
  for (const causal of [false, true]) {
    const kind = causal ? "causal" : "full";

    test(`gives value and gradients, ${kind}`, async () => {
      await check({ ...SMALL, causal });
      await check({ ...SMALL, causal, headDim: 8, valueDim: 8, tokens: 17, keyTokens: 17 });
      await check({ ...SMALL, causal, scale: 0.3 });
    });

    test(`aligns the last query with the last key, ${kind}`, async () => {
      await check({ ...SMALL, causal, tokens: 3, keyTokens: 7 });
      await check({ ...SMALL, causal, tokens: 1, keyTokens: 6 });
    });

    test(`takes one token, one head and values of their own width, ${kind}`, async () => {
      await check({ ...SMALL, causal, tokens: 1, keyTokens: 1 });
      await check({ ...SMALL, causal, batch: 1, heads: 1, valueDim: 3 });
      await check({ ...SMALL, causal, headDim: 1, valueDim: 1 });
    });

    test(`lets groups of heads share keys and values, ${kind}`, async () => {
      await check({ ...SMALL, causal, keyHeads: 1 });
      await check({ ...SMALL, causal, heads: 6, keyHeads: 2, headDim: 8, valueDim: 8 });
      await check({ ...SMALL, causal, heads: 9, keyHeads: 3, tokens: 2, keyTokens: 6 });
      await check({ ...SMALL, causal, heads: 9, keyHeads: 3, tokens: 1, keyTokens: 6, headDim: 8, valueDim: 8 });
      await check({ ...SMALL, causal, heads: 9, keyHeads: 1, valueDim: 2 });
    });

    test(`takes an empty batch and no queries, ${kind}`, async () => {
      await check({ ...SMALL, causal, batch: 0 });
      await check({ ...SMALL, causal, tokens: 0 });
    });
  }

  test("joins the blocks that many causal queries are taken in", async () => {
    // The torch engine's own composition takes 256 queries at a time.
    await check({ ...SMALL, batch: 1, heads: 2, tokens: 300, keyTokens: 310, headDim: 3, valueDim: 2, causal: true });
  });

  test("hides keys before the window of a query", async () => {
    const windowed = { ...SMALL, causal: true, tokens: 9, keyTokens: 9 };
    for (const window of [1, 2, 5, 9, 100]) await check({ ...windowed, window });
    await check({ ...windowed, headDim: 8, valueDim: 8, window: 4 });
    await check({ ...windowed, keyTokens: 15, window: 4 });
    await check({ ...windowed, heads: 4, keyHeads: 2, keyTokens: 11, window: 3 });
    for (const window of [1, 6, 7, 8]) {
      await check({ ...windowed, heads: 4, keyHeads: 2, tokens: 1, keyTokens: 7, window });
    }
  });

  test("joins the blocks of many queries with a window or with groups", async () => {
    const long = { ...SMALL, batch: 1, heads: 4, keyHeads: 2, tokens: 300, headDim: 3, valueDim: 2, causal: true };
    await check({ ...long, keyTokens: 310 });
    await check({ ...long, keyTokens: 310, window: 40 });
    await check({ ...long, keyTokens: 300, window: 290 });
  });

  test("lets one query attend to many keys, which may be a view of a longer buffer", async () => {
    const one = { ...SMALL, heads: 6, keyHeads: 2, tokens: 1, headDim: 20, valueDim: 33, causal: true };
    for (const keyTokens of [127, 128, 129, 400]) await check({ ...one, keyTokens });
    await check({ ...one, keyTokens: 400, window: 130 });
    await check({ ...one, keyTokens: 300, spread: 2 });
    const [q, seen] = tf.tidy(() => {
      const buffer = tf.randomNormal([2, 2, 90, 24], 0, 1, "float32", 3);
      return [tf.randomNormal([2, 4, 1, 24], 0, 1, "float32", 4), tf.slice(buffer, [0, 0, 0, 0], [2, 2, 60, 24])];
    }) as [tf.Tensor, tf.Tensor];
    const copy = tf.tensor(await seen.data(), seen.shape);
    const viewed = attention(q, seen, seen, { causal: true });
    const copied = attention(q, copy, copy, { causal: true });
    expectClose(await viewed.data(), await copied.data(), { tolerance: 1e-6 });
    tf.dispose([q, seen, copy, viewed, copied]);
  });

  test("takes fewer keys than queries where it is not causal", async () => {
    await check({ ...SMALL, tokens: 6, keyTokens: 2 });
  });

  test("adds up the gradients of a tensor that is query, key and value at once", async () => {
    const x = sample(1, [1, 2, 5, 4]);
    const { dy, gradients } = await runOp({ x }, ({ x }) => attention(x as tf.Tensor, x as tf.Tensor, x as tf.Tensor));
    const { values } = x;
    const sizes = { heads: 2, tokens: 5, keyTokens: 5, headDim: 4, valueDim: 4, causal: false, scale: 0.5 };
    const { q, k, v } = f64.attentionGradients({ q: values, k: values, v: values, ...sizes }, dy);
    expectClose(
      gradients.x as Float32Array,
      q.map((value, i) => value + (k[i] as number) + (v[i] as number)),
    );
  });

  test("stays finite with scores in the hundreds", async () => {
    await check({ ...SMALL, causal: true, spread: 12 });
  });

  test("holds for random sizes", async () => {
    const size = fc.integer({ min: 1, max: 9 });
    const sizes = {
      batch: fc.integer({ min: 1, max: 2 }),
      keyHeads: fc.integer({ min: 1, max: 3 }),
      group: fc.integer({ min: 1, max: 3 }),
    };
    const widths = { headDim: fc.integer({ min: 1, max: 24 }), valueDim: fc.integer({ min: 1, max: 24 }) };
    const cases = fc.record({ ...sizes, ...widths, tokens: size, more: size, causal: fc.boolean(), window: size });
    await fc.assert(
      fc.asyncProperty(cases, ({ more, group, window, ...sizes }) =>
        check({
          ...sizes,
          heads: group * sizes.keyHeads,
          keyTokens: sizes.tokens + more - 1,
          ...(sizes.causal ? { window } : {}),
        }),
      ),
      { seed: 7, numRuns: 20 },
    );
  });

  test("names what does not fit", () => {
    tf.tidy(() => {
      const q = tf.ones([2, 3, 5, 4]);
      const k = tf.ones([2, 3, 2, 4]);
      const none = tf.ones([2, 3, 0, 4]);
      const shapes = "(batch, heads, tokens, head_dim)";
      expectRefusal(
        () => attention(tf.ones([3, 5, 4]), q, q),
        `attention: q must be float32 ${shapes}, got float32 (3, 5, 4)`,
      );
      expectRefusal(
        () => attention(q, tf.ones([2, 3, 5, 6]), q),
        "attention: k must be float32 (2, key_heads, key_tokens, 4), got float32 (2, 3, 5, 6)",
      );
      expectRefusal(
        () => attention(q, q, k),
        "attention: v must be float32 (2, 3, 5, value_dim), got float32 (2, 3, 2, 4)",
      );
      expectRefusal(
        () => attention(q, k, k, { causal: true }),
        "attention: causal needs at least as many key tokens as query tokens, got 2 for 5",
      );
      expectRefusal(
        () => attention(q, tf.ones([2, 2, 5, 4]), tf.ones([2, 2, 5, 4])),
        "attention: heads of q must be a multiple of the heads of k and v, got 3 and 2",
      );
      expectRefusal(
        () => attention(q, tf.ones([2, 0, 5, 4]), tf.ones([2, 0, 5, 4])),
        "attention: heads of q must be a multiple of the heads of k and v, got 3 and 0",
      );
      expectRefusal(
        () => attention(q, q, q, { causal: true, window: 0 }),
        "attention: window must be a positive integer, got 0",
      );
      expectRefusal(
        () => attention(q, q, q, { window: 3 }),
        "attention: window needs causal: true, because it ends at the position of the query",
      );
      expectRefusal(() => attention(q, none, none), "attention: k must have at least one token to attend to, got 0");
      expectRefusal(
        () => attention(q, q, q, { scale: Number.NaN }),
        "attention: scale must be a finite number, got NaN",
      );
    });
  });
});
