// Convolutions whose kernel is made of GBLR matrices, as models apply them, against the reference implementation's.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import type { MaskSettings } from "../../workbench/gblr/mask.ts";
import { GblrMatrix, type GblrParameters } from "../../workbench/gblr/matrix.ts";
import { convolve, kernelOf, kernelOfPositions } from "../../workbench/structures/convolution.ts";
import { dense } from "../../workbench/structures/dense.ts";
import { forEachEngine } from "../engine/engines.ts";
import { read } from "../engine/ops/operands.ts";
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

function matricesOf({ conv, kind, settings = {}, fullWidth = false }: Case): GblrMatrix[] {
  return Array.from({ length: MATRICES[kind] }, (_, i) => {
    const entries = NAMES.map((name) => [name, golden(`${conv}.${kind}.${i}.${name}`)]);
    const parameters = Object.fromEntries(entries) as unknown as GblrParameters;
    const widths = fullWidth ? tf.onesLike(parameters.widths) : parameters.widths;
    return new GblrMatrix({ ...parameters, widths }, settings);
  });
}

const geometryOf = (conv: string) => ({
  kernel: [3, 3] as [number, number],
  stride: conv === "s1" ? 1 : 2,
  padding: 1,
});

function kernel(conv: string, matrices: readonly GblrMatrix[]): tf.Tensor4D {
  const each = matrices.map((matrix) => matrix.dense());
  const geometry = geometryOf(conv);
  return each.length === 1 ? kernelOf(each[0] as tf.Tensor2D, geometry) : kernelOfPositions(each, geometry);
}

function apply(conv: string, matrices: readonly GblrMatrix[]): tf.Tensor4D {
  const x = tf.transpose(golden(`${conv}.x`), [0, 2, 3, 1]) as tf.Tensor4D;
  const held = { structure: dense, parameters: { weight: kernel(conv, matrices) } };
  return tf.add(convolve(x, held, geometryOf(conv)), golden(`${conv}.bias`));
}

/** Runs it on the golden input, channels first as the reference has them. */
const output = (of: Case): tf.Tensor => tf.tidy(() => tf.transpose(apply(of.conv, matricesOf(of)), [0, 3, 1, 2]));

async function costOf(of: Case): Promise<number> {
  const costs = await Promise.all(matricesOf(of).map((matrix) => matrix.cost()));
  return costs.reduce((sum, cost) => sum + cost, 0);
}

async function expectGolden(y: tf.Tensor, name: string, within: number): Promise<void> {
  const expected = GOLDEN.get(name);
  expect(y.shape).toEqual(expected.shape);
  const values = await read(y);
  expected.values.forEach((value, i) => {
    expect(Math.abs(value - (values[i] as number))).toBeLessThan(within);
  });
}

forEachEngine("convolutions of GBLR matrices", () => {
  for (const kind of ["per_kernel", "integrated"] as const) {
    for (const conv of ["s1", "s2"]) {
      test(`convolves and counts as the reference does, ${kind}, ${conv}`, async () => {
        for (const mode of ["train", "eval"] as const) {
          const of = { conv, kind, settings: { mode } };
          await expectGolden(output(of), `${conv}.${kind}.${mode}.y`, 2e-5);
          expect(await costOf(of)).toBe(GOLDEN.get(`${conv}.${kind}.${mode}.num_params`).values[0] as number);
        }
      });

      test(`is the dense convolution at full width, ${kind}, ${conv}`, async () => {
        const y = output({ conv, kind, fullWidth: true });
        await expectGolden(y, `${conv}.${kind}.y_full_width`, 1e-5);
        const dense = tf.transpose(golden(`${conv}.dense_weight`), [2, 3, 1, 0]);
        const made = kernel(conv, matricesOf({ conv, kind, fullWidth: true }));
        expect(made.shape).toEqual(dense.shape as [number, number, number, number]);
        expect((await read(tf.max(tf.abs(tf.sub(made, dense)))))[0] as number).toBeLessThan(1e-5);
      });
    }
  }

  test("carries gradients to the widths of every matrix", async () => {
    const made = matricesOf({ conv: "s1", kind: "per_kernel" });
    const gradients = tf.grads((...values: tf.Tensor[]) => {
      const matrices = made.map(
        ({ parameters }, i) => new GblrMatrix({ ...parameters, widths: values[i] as tf.Tensor }),
      );
      return tf.sum(tf.square(apply("s1", matrices)));
    })(made.map(({ parameters }) => parameters.widths));
    for (const gradient of gradients) {
      expect((await read(tf.max(tf.abs(gradient))))[0] as number).toBeGreaterThan(0);
    }
  });
});
