// GblrMatrix against the reference implementation's layers: outputs, all gradients, masks and counts, on every engine.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import type { MaskSettings } from "../../workbench/gblr/mask.ts";
import type { GblrParameters } from "../../workbench/gblr/matrix.ts";
import { GblrMatrix } from "../../workbench/gblr/matrix.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, expectRefusal, liveTensors, read } from "../engine/ops/operands.ts";
import { readGolden } from "../golden.ts";
import { expectEvaluationMask } from "./masks.ts";

const LAYERS = readGolden("gblr/layer.safetensors");
const NAMES = ["lr_weight1", "lr_weight2", "widths", "locations", "bias"] as const;
const SIGMAS = { nogauss: Number.POSITIVE_INFINITY, gauss100: 100, gauss10: 10 };
const MODES = ["train", "eval"] as const;

const golden = (name: string): tf.Tensor => {
  const { values, shape } = LAYERS.get(name);
  return tf.tensor(Float32Array.from(values), shape, "float32");
};

const parametersOf = (layer: string): GblrParameters =>
  Object.fromEntries(NAMES.map((name) => [name, golden(`${layer}.${name}`)])) as unknown as GblrParameters;

async function expectGolden(tensor: tf.Tensor, name: string, tolerance: { of?: "max"; within: number }): Promise<void> {
  const expected = LAYERS.get(name);
  expect(tensor.shape).toEqual(expected.shape);
  const values = await read(tensor);
  if (tolerance.of === "max") {
    expectClose(values, expected.values, { tolerance: tolerance.within });
    return;
  }
  expected.values.forEach((value, i) => {
    expect(Math.abs(value - (values[i] as number))).toBeLessThan(tolerance.within);
  });
}

const eachCase = (run: (layer: string, settings: MaskSettings, key: string) => Promise<void>) => async () => {
  for (const layer of ["a", "b"]) {
    for (const [name, sigma] of Object.entries(SIGMAS)) {
      for (const mode of MODES) {
        await run(layer, { sigma, mode }, `${layer}.${name}.${mode}`);
      }
    }
  }
};

forEachEngine("GblrMatrix", () => {
  for (const via of ["dense", "factored"] as const) {
    test(
      `multiplies as the reference does, ${via}`,
      eachCase(async (layer, settings, key) => {
        const y = tf.tidy(() => new GblrMatrix(parametersOf(layer), settings).apply(golden(`${layer}.x`), { via }));
        await expectGolden(y, `${key}.dense.y`, { within: 2e-5 });
      }),
    );

    test(
      `gives the gradients of x and all five parameters, ${via}`,
      eachCase(async (layer, settings, key) => {
        if (!LAYERS.names.includes(`${key}.dense.grad.x`)) {
          return;
        }
        const parameters = parametersOf(layer);
        const [x, weights] = [golden(`${layer}.x`), golden(`${layer}.G`)];
        const loss = (x: tf.Tensor, ...values: tf.Tensor[]) => {
          const named = Object.fromEntries(values.map((value, i) => [NAMES[i], value]));
          const matrix = new GblrMatrix(named as unknown as GblrParameters, settings);
          return tf.sum(tf.mul(matrix.apply(x, { via }), weights));
        };
        const gradients = tf.grads(loss as (...all: tf.Tensor[]) => tf.Tensor)([
          x,
          ...NAMES.map((n) => parameters[n] as tf.Tensor),
        ]);
        for (const [i, name] of ["x", ...NAMES].entries()) {
          await expectGolden(gradients[i] as tf.Tensor, `${key}.dense.grad.${name}`, { of: "max", within: 5e-5 });
        }
      }),
    );
  }

  test(
    "has the masks and the matrix of the reference",
    eachCase(async (layer, settings, key) => {
      const matrix = new GblrMatrix(parametersOf(layer), settings);
      const { input, output } = matrix.masks();
      if (LAYERS.names.includes(`${key}.mask_in`)) {
        expectEvaluationMask(await read(input), LAYERS.get(`${key}.mask_in`).values);
        expectEvaluationMask(await read(output), LAYERS.get(`${key}.mask_out`).values);
      }
      if (LAYERS.names.includes(`${key}.weight`)) {
        await expectGolden(matrix.dense(), `${key}.weight`, { within: 2e-5 });
      }
    }),
  );

  test(
    "counts as the reference does",
    eachCase(async (layer, settings, key) => {
      const { live, cost, meanWidth } = await new GblrMatrix(parametersOf(layer), settings).use();
      expect(cost).toBe(LAYERS.get(`${key}.num_params`).values[0] as number);
      expect(live.map(Number)).toEqual(Array.from(LAYERS.get(`${key}.nonzero`).values));
      LAYERS.get(`${key}.mean_width`).values.forEach((mean, side) => {
        expect(meanWidth[side as 0 | 1]).toBeCloseTo(mean, 6);
      });
    }),
  );

  test("takes rows that are too short as filled up with zeros", async () => {
    for (const layer of ["a", "b"]) {
      for (const via of ["dense", "factored"] as const) {
        const y = tf.tidy(() => new GblrMatrix(parametersOf(layer)).apply(golden(`${layer}.x_short`), { via }));
        await expectGolden(y, `${layer}.y_short`, { within: 2e-5 });
      }
    }
  });

  test("gives a block of rank r what r blocks of rank 1 with the same mask give", async () => {
    const [K, r, nIn, nOut] = [3, 2, 10, 7];
    const v = tf.randomNormal([K, r, nIn], 0, 1, "float32", 1);
    const u = tf.randomNormal([K, nOut, r], 0, 1, "float32", 2);
    const [widths, locations] = [
      tf.tensor2d([0.5, 0.2, 1, 0.6, 1, 0.3], [2, K]),
      tf.randomUniform([2, K], 0, 1, "float32", 3),
    ];
    const together = new GblrMatrix({ lr_weight1: v, lr_weight2: u, widths, locations }).dense();
    const parts = Array.from({ length: r }, (_, i) =>
      new GblrMatrix({
        lr_weight1: tf.slice(v, [0, i, 0], [K, 1, nIn]),
        lr_weight2: tf.slice(u, [0, 0, i], [K, nOut, 1]),
        widths,
        locations,
      }).dense(),
    );
    expectClose(await read(together), Float64Array.from(await read(tf.addN(parts))));
  });

  test("leaves no tensor behind", () => {
    const matrix = new GblrMatrix(parametersOf("a"), { sigma: 100 });
    const x = golden("a.x");
    const run = () => tf.dispose([matrix.dense(), matrix.apply(x), matrix.apply(x, { via: "factored" })]);
    run();
    const before = liveTensors();
    run();
    expect(liveTensors()).toEqual(before);
  });

  test("names the parameter that does not fit", () => {
    const good = parametersOf("a");
    expectRefusal(
      () => new GblrMatrix({ ...good, widths: tf.zeros([2, 40]) }),
      "GblrMatrix: widths must be float32 (2, 48), got float32 (2, 40)",
    );
    expectRefusal(
      () => new GblrMatrix({ ...good, lr_weight2: tf.zeros([48, 96, 2]) }),
      "GblrMatrix: lr_weight2 must be float32 (48, n_out, 1), got float32 (48, 96, 2)",
    );
    expectRefusal(
      () => new GblrMatrix(good).apply(tf.zeros([2, 49])),
      "GblrMatrix: x must be float32 (..., 48) or shorter, got float32 (2, 49)",
    );
  });
});
