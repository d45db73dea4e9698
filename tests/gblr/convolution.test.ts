// Convolutions made of GBLR matrices against the reference implementation's, on every engine.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { GblrConvolution } from "../../workbench/gblr/convolution.ts";
import { GblrMatrix } from "../../workbench/gblr/matrix.ts";
import type { GblrParameters, MaskSettings } from "../../workbench/gblr/parameters.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectRefusal, read } from "../engine/ops/operands.ts";
import { readGolden } from "../golden.ts";

const GOLDEN = readGolden("gblr/conv.safetensors");
const NAMES = ["lr_weight1", "lr_weight2", "widths", "locations"] as const;
const MATRICES = { per_kernel: 9, integrated: 1 };

const golden = (name: string): tf.Tensor => {
  const { values, shape } = GOLDEN.get(name);
  return tf.tensor(Float32Array.from(values), shape, "float32");
};

interface Case {
  /** `s1` or `s2`, the stride */
  conv: string;
  kind: keyof typeof MATRICES;
  settings?: MaskSettings;
  fullWidth?: boolean;
}

function convolution({ conv, kind, settings = {}, fullWidth = false }: Case): GblrConvolution {
  const matrices = Array.from({ length: MATRICES[kind] }, (_, i) => {
    const entries = NAMES.map((name) => [name, golden(`${conv}.${kind}.${i}.${name}`)]);
    const parameters = Object.fromEntries(entries) as unknown as GblrParameters;
    const widths = fullWidth ? tf.onesLike(parameters.widths) : parameters.widths;
    return new GblrMatrix({ ...parameters, widths }, settings);
  });
  const stride = conv === "s1" ? 1 : 2;
  return new GblrConvolution(matrices, { kernelSize: [3, 3], bias: golden(`${conv}.bias`), stride, padding: 1 });
}

/** Runs it on the golden input, channels first as the reference has them. */
function output(of: Case): tf.Tensor {
  return tf.tidy(() => {
    const x = tf.transpose(golden(`${of.conv}.x`), [0, 2, 3, 1]) as tf.Tensor4D;
    return tf.transpose(convolution(of).apply(x), [0, 3, 1, 2]);
  });
}

async function expectGolden(y: tf.Tensor, name: string, within: number): Promise<void> {
  const expected = GOLDEN.get(name);
  expect(y.shape).toEqual(expected.shape);
  const values = await read(y);
  expected.values.forEach((value, i) => {
    expect(Math.abs(value - (values[i] as number))).toBeLessThan(within);
  });
}

forEachEngine("GblrConvolution", () => {
  for (const kind of ["per_kernel", "integrated"] as const) {
    for (const conv of ["s1", "s2"]) {
      test(`convolves and counts as the reference does, ${kind}, ${conv}`, async () => {
        for (const mode of ["train", "eval"] as const) {
          const of = { conv, kind, settings: { mode } };
          await expectGolden(output(of), `${conv}.${kind}.${mode}.y`, 2e-5);
          expect(await convolution(of).cost()).toBe(
            GOLDEN.get(`${conv}.${kind}.${mode}.num_params`).values[0] as number,
          );
        }
      });

      test(`is the dense convolution at full width, ${kind}, ${conv}`, async () => {
        const y = output({ conv, kind, fullWidth: true });
        await expectGolden(y, `${conv}.${kind}.y_full_width`, 1e-5);
        const dense = tf.transpose(golden(`${conv}.dense_weight`), [2, 3, 1, 0]);
        const kernel = convolution({ conv, kind, fullWidth: true }).kernel();
        expect(kernel.shape).toEqual(dense.shape as [number, number, number, number]);
        expect((await read(tf.max(tf.abs(tf.sub(kernel, dense)))))[0] as number).toBeLessThan(1e-5);
      });
    }
  }

  test("carries gradients to the widths of every matrix", async () => {
    const made = convolution({ conv: "s1", kind: "per_kernel" });
    const x = tf.transpose(golden("s1.x"), [0, 2, 3, 1]) as tf.Tensor4D;
    const widths = made.matrices.map(({ parameters }) => parameters.widths);
    const gradients = tf.grads((...values: tf.Tensor[]) => {
      const matrices = made.matrices.map(
        ({ parameters }, i) => new GblrMatrix({ ...parameters, widths: values[i] as tf.Tensor }),
      );
      return tf.sum(tf.square(new GblrConvolution(matrices, made.options).apply(x)));
    })(widths);
    for (const gradient of gradients) {
      expect((await read(tf.max(tf.abs(gradient))))[0] as number).toBeGreaterThan(0);
    }
  });

  test("refuses matrices that make no kernel", () => {
    const { matrices } = convolution({ conv: "s1", kind: "per_kernel" });
    expectRefusal(
      () => new GblrConvolution(matrices.slice(1), { kernelSize: [3, 3] }),
      "GblrConvolution: matrices must be 1 or 9, got 8",
    );
    expectRefusal(
      () => new GblrConvolution(matrices.slice(0, 1), { kernelSize: [5, 5] }),
      "GblrConvolution: n_in must be a multiple of 25, got 12",
    );
  });
});
