// The Gaudi mask and its gradient against float64 values of the reference implementation, on every engine.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { gaudiMask, type MaskSettings, maskTables } from "../../workbench/gblr/mask.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, expectRefusal, liveTensors, read } from "../engine/ops/operands.ts";
import { type GoldenTensor, readGolden } from "../golden.ts";
import { expectEvaluationMask } from "./masks.ts";

const MASKS = readGolden("gblr/mask.safetensors");
const GRADIENTS = readGolden("gblr/mask_grad.safetensors");

const LENGTHS = [7, 16, 33, 48, 96];
const SIGMAS: Record<string, number> = { none: Number.POSITIVE_INFINITY, 1: 1, 10: 10, 100: 100 };

const list = ({ values }: GoldenTensor): tf.Tensor1D => tf.tensor1d(Float32Array.from(values));

/** The masks of all cases of one length. */
function masksOf(n: number, settings: MaskSettings): Promise<Float32Array> {
  const mask = tf.tidy(() => gaudiMask(list(MASKS.get(`n${n}.w`)), list(MASKS.get(`n${n}.l`)), n, settings));
  expect(mask.shape).toEqual([MASKS.get(`n${n}.w`).shape[0] as number, n]);
  return read(mask);
}

function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  return Array.from(expected).reduce((most, value, i) => Math.max(most, Math.abs(value - (actual[i] as number))), 0);
}

forEachEngine("gaudiMask", () => {
  test("keeps the tables that are used again, and not those of every length", () => {
    const sigma = 3.25;
    const first = maskTables({ length: 8, sigma });
    const others = Array.from({ length: 40 }, (_, i) => {
      const other = maskTables({ length: 9 + i, sigma });
      expect(maskTables({ length: 8, sigma })).toBe(first);
      return other;
    });
    expect(first.edges.isDisposed || first.slopes.isDisposed).toBe(false);
    const left = others.map(({ edges }) => !edges.isDisposed);
    expect(left).toEqual(others.map((_, i) => i >= 40 - 31));
  });

  test("gives the training masks within 2e-6", async () => {
    for (const n of LENGTHS) {
      for (const [name, sigma] of Object.entries(SIGMAS)) {
        const key = `n${n}.train_ste.s${name}.custom.f64`;
        if (MASKS.names.includes(key)) {
          const mask = await masksOf(n, { sigma });
          expect(largestDifference(mask, MASKS.get(key).values)).toBeLessThan(2e-6);
        }
      }
    }
  });

  test("gives the gradients within 5e-5 of the largest", async () => {
    for (const n of LENGTHS) {
      for (const name of ["none", "1", "100"]) {
        const [w, l] = [list(GRADIENTS.get(`n${n}.w`)), list(GRADIENTS.get(`n${n}.l`))];
        const outer = tf.tensor2d(Float32Array.from(GRADIENTS.get(`n${n}.G`).values), [w.size, n]);
        const settings = { sigma: SIGMAS[name] as number };
        const gradients = tf.grads((w, l) => gaudiMask(w as tf.Tensor1D, l as tf.Tensor1D, n, settings));
        const [gw, gl] = gradients([w, l], outer) as [tf.Tensor, tf.Tensor];
        for (const [gradient, which] of [
          [gw, "gw"],
          [gl, "gl"],
        ] as const) {
          const expected = GRADIENTS.get(`n${n}.ste.s${name}.custom.f64.${which}`).values;
          expectClose(await read(gradient), expected, { tolerance: 5e-5 });
        }
      }
    }
  });

  test("gives the evaluation masks, but where an entry lies on the cut", async () => {
    for (const n of LENGTHS) {
      for (const [name, sigma] of Object.entries(SIGMAS)) {
        const mask = await masksOf(n, { sigma, mode: "eval" });
        expectEvaluationMask(mask, MASKS.get(`n${n}.eval.s${name}.custom.f32`).values);
      }
    }
  });

  test("is exactly 0 or 1 without a Gaussian, for as many samples as the rounded width", async () => {
    for (const n of LENGTHS) {
      const mask = await masksOf(n, {});
      const [W, L] = [MASKS.get(`n${n}.W`).values, MASKS.get(`n${n}.L`).values];
      W.forEach((width, k) => {
        if (width < 0 || width > n) {
          return; // such a width is no window; the reference adds or takes off whole turns
        }
        for (let t = 0; t < n; t++) {
          const at = ((((L[k] as number) + t) % n) + n) % n;
          expect(mask[k * n + at]).toBe(t < width ? 1 : 0);
        }
      });
    }
  });

  test("gives the location of a full and of an empty window a gradient of exactly 0", async () => {
    const n = 33;
    const [w, l] = [tf.tensor1d([1, 0, 1]), tf.tensor1d([0.3, 0.7, 0])];
    for (const sigma of [Number.POSITIVE_INFINITY, 10]) {
      const dy = tf.randomNormal<tf.Rank.R2>([3, n], 0, 1, "float32", 3);
      const toLocation = tf.grad((l) => gaudiMask(w, l as tf.Tensor1D, n, { sigma }))(l, dy);
      expect(Array.from(await read(toLocation), Math.abs)).toEqual([0, 0, 0]);
      const toWidth = tf.grad((w) => gaudiMask(w as tf.Tensor1D, l, n, { sigma }))(w, dy);
      expect(Math.min(...Array.from(await read(toWidth), Math.abs))).toBeGreaterThan(0);
    }
  });

  test("stops gradients in evaluation where it cut entries to 0", async () => {
    const n = 16;
    const [w, l] = [tf.tensor1d([1 / n, 0.5]), tf.tensor1d([0.25, 0.25])];
    const dy = tf.tidy(() => tf.concat([tf.ones([2, 4]), tf.zeros([2, 8]), tf.ones([2, 4])], 1));
    const gradients = tf.grads((w, l) => gaudiMask(w as tf.Tensor1D, l as tf.Tensor1D, n, { mode: "eval" }))(
      [w, l],
      dy,
    );
    for (const gradient of gradients) {
      expect(Array.from(await read(gradient), Math.abs)).toEqual([0, 0]);
    }
  });

  test("rounds ties to the even sample", async () => {
    const n = 16;
    const ties = [0.5, 1.5, 2.5, 3.5, 4.5].map((samples) => samples / n);
    const mask = tf.tidy(() => gaudiMask(tf.tensor1d(ties), tf.zerosLike(tf.tensor1d(ties)), n));
    expect(Array.from(await read(tf.sum(mask, 1)))).toEqual([0, 2, 2, 4, 4]);
  });

  test("keeps no tensor but its tables", async () => {
    const [w, l] = [tf.tensor1d([0.4, 0.6]), tf.tensor1d([0.1, 0.9])];
    const step = () => {
      for (const settings of [{}, { sigma: 10 }, { mode: "eval" }] as MaskSettings[]) {
        const gradients = tf.grads((w, l) => gaudiMask(w as tf.Tensor1D, l as tf.Tensor1D, 24, settings))([w, l]);
        tf.dispose(gradients);
      }
    };
    step();
    const before = liveTensors();
    step();
    expect(liveTensors()).toEqual(before);
    const sigmas = Array.from({ length: 80 }, (_, i) => i + 1);
    for (const sigma of sigmas) {
      gaudiMask(w, l, 24, { sigma }).dispose();
    }
    expect(liveTensors().tensors - before.tensors).toBeLessThan(2 * 32 + 1);
  });

  test("refuses what is no window", () => {
    const two = tf.tensor1d([0.5, 0.5]);
    gaudiMask(two, two, 8).dispose(); // makes the tables, which stay
    expectRefusal(
      () => gaudiMask(two, tf.tensor1d([0.5]), 8),
      "gaudiMask: locations must be float32 (2), got float32 (1)",
    );
    expectRefusal(() => gaudiMask(two, two, 0), "gaudiMask: length must be an integer of at least 1, got 0");
    expectRefusal(
      () => gaudiMask(two, two, 8, { sigma: 0 }),
      "gaudiMask: sigma must be above 0 (Infinity for no Gaussian), got 0",
    );
  });
});
