// The float64 gradients against central differences of the float64 values: the references check themselves here, with
// no engine involved.

import { describe, expect, test } from "bun:test";
import * as f64 from "./float64.ts";
import type { Values } from "./grid.ts";
import { expectClose, sample, sampleIds } from "./operands.ts";

const STEP = 1e-5;

/** d(Σ y dy)/dx by central differences, x changed in place and restored. */
function differences(x: Values, dy: Values, value: () => Values): Values {
  const total = () => value().reduce((sum, y, i) => sum + y * (dy[i] as number), 0);
  return x.map((kept, i) => {
    x[i] = kept + STEP;
    const above = total();
    x[i] = kept - STEP;
    const below = total();
    x[i] = kept;
    return (above - below) / (2 * STEP);
  });
}

const values = (seed: number, size: number): Values => sample(seed, [size]).values;

describe("float64 references", () => {
  test("erf has the tabulated values", () => {
    // Abramowitz and Stegun, table 7.1
    expect(f64.erf(0.5)).toBeCloseTo(0.5204998778, 10);
    expect(f64.erf(-1)).toBeCloseTo(-0.8427007929, 10);
    expect(f64.erf(2)).toBeCloseTo(0.995322265, 9);
    expect(f64.erf(7)).toBe(1);
  });

  test("the gelu slopes are the differences of gelu", () => {
    for (const form of ["none", "tanh"] as const) {
      for (const x of [-4, -1.3, 0, 0.2, 2.5]) {
        const slope = (f64.geluAt(x + STEP, form) - f64.geluAt(x - STEP, form)) / (2 * STEP);
        expect(f64.geluSlopeAt(x, form)).toBeCloseTo(slope, 8);
      }
    }
  });

  test("linear's gradients are the differences of linear", () => {
    for (const layout of ["out_in", "in_out"] as const) {
      for (const activation of ["none", "gelu", "gelu_tanh"] as const) {
        const sizes = { rows: 3, nIn: 4, nOut: 2 };
        const options = { x: values(1, 12), weight: values(2, 8), bias: values(3, 2), ...sizes, layout, activation };
        const dy = values(4, 6);
        const gradients = f64.linearGradients(options, dy);
        expectClose(
          gradients.x,
          differences(options.x, dy, () => f64.linear(options)),
          { tolerance: 1e-8 },
        );
        expectClose(
          gradients.weight,
          differences(options.weight, dy, () => f64.linear(options)),
          { tolerance: 1e-8 },
        );
        expectClose(
          gradients.bias,
          differences(options.bias, dy, () => f64.linear(options)),
          { tolerance: 1e-8 },
        );
      }
    }
  });

  test("layerNorm's gradients are the differences of layerNorm", () => {
    const options = { x: values(1, 15), gain: values(2, 5), bias: values(3, 5), epsilon: 1e-5 };
    const dy = values(4, 15);
    const gradients = f64.layerNormGradients(options, dy);
    expectClose(
      gradients.x,
      differences(options.x, dy, () => f64.layerNorm(options)),
      { tolerance: 1e-7 },
    );
    expectClose(
      gradients.gain,
      differences(options.gain, dy, () => f64.layerNorm(options)),
      { tolerance: 1e-7 },
    );
    expectClose(
      gradients.bias,
      differences(options.bias, dy, () => f64.layerNorm(options)),
      { tolerance: 1e-7 },
    );
  });

  test("attention's gradients are the differences of attention", () => {
    for (const causal of [false, true]) {
      const sizes = { heads: 2, tokens: 3, keyTokens: 4, headDim: 3, valueDim: 2 };
      const options = { q: values(1, 18), k: values(2, 24), v: values(3, 16), ...sizes, causal, scale: 0.6 };
      const dy = values(4, 12);
      const gradients = f64.attentionGradients(options, dy);
      expectClose(
        gradients.q,
        differences(options.q, dy, () => f64.attention(options)),
        { tolerance: 1e-8 },
      );
      expectClose(
        gradients.k,
        differences(options.k, dy, () => f64.attention(options)),
        { tolerance: 1e-8 },
      );
      expectClose(
        gradients.v,
        differences(options.v, dy, () => f64.attention(options)),
        { tolerance: 1e-8 },
      );
    }
  });

  test("crossEntropy's gradient is the difference of crossEntropy", () => {
    const targets = Int32Array.of(2, 9, 0, 4);
    const options = { logits: values(1, 20), targets, ignoreIndex: 9, labelSmoothing: 0.15 };
    const dy = values(2, 4);
    const expected = differences(options.logits, dy, () => f64.crossEntropy(options));
    expectClose(f64.crossEntropyGradient(options, dy), expected, { tolerance: 1e-8 });
  });

  test("embedding's gradient is the difference of embedding", () => {
    const [table, dy, ids] = [values(1, 12), values(2, 21), sampleIds(3, 7, 4)];
    const expected = differences(table, dy, () => f64.embedding(table, ids, 3));
    expectClose(f64.embeddingGradient(dy, ids, { rows: 4, width: 3 }), expected, { tolerance: 1e-8 });
  });
});
