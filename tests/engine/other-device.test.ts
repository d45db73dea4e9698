// What the torch engine does on a device other than the CPU, and with products in bfloat16, without a GPU. libtorch's device
// `meta` knows the shapes, types and devices of tensors but has no values. An operator refuses tensors of two devices there
// as on a GPU, apart from single numbers, and reading a value fails.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { type Addon, loadAddon } from "../../workbench/engine/backends/torch/addon.ts";
import { bfloat16CopyOf, dataOf, internalAten } from "../../workbench/engine/backends/torch/aten.ts";
import { TorchBackend } from "../../workbench/engine/backends/torch/backend.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { linear } from "../../workbench/engine/ops/index.ts";
import { ENGINES } from "./engines.ts";

const present = ENGINES.some(({ name }) => name === "torch");

describe.skipIf(!present)("the torch engine on a device other than the CPU", () => {
  let addon: Addon;
  beforeAll(async () => {
    await openEngine({ engine: "torch", device: "cpu" });
    addon = loadAddon().addon;
    tf.removeBackend("torch");
    tf.registerBackend("torch", () => new TorchBackend("meta"), 0);
    await tf.setBackend("torch");
  });
  afterAll(async () => {
    tf.removeBackend("torch");
    await openEngine({ engine: "torch", device: "cpu" });
  });

  const deviceOf = (x: tf.Tensor) => addon.describe(dataOf(x.dataId).handle)[1];

  test("computes a loss and its gradients there, and reads nothing back", () => {
    const x = tf.ones([8, 6]);
    const parameters = [tf.variable(tf.ones([12, 6])), tf.variable(tf.ones([12])), tf.variable(tf.ones([3, 12]))];
    const [up, bias, down] = parameters as [tf.Variable, tf.Variable, tf.Variable];
    const loss = () => {
      const hidden = linear(x, up, bias as tf.Variable<tf.Rank.R1>, { activation: "gelu_tanh" });
      const y = tf.softmax(linear(tf.mul(tf.add(hidden, 1), 0.5), down));
      return tf.mean(tf.squaredDifference(tf.maximum(y, 1e-3), tf.zeros([8, 3]))) as tf.Scalar;
    };
    const { value, grads } = tf.variableGrads(loss, parameters);
    expect([value, ...Object.values(grads)].map(deviceOf)).toEqual(["meta", "meta", "meta", "meta"]);
    expect(parameters.map(({ name }) => grads[name]?.shape)).toEqual([[12, 6], [12], [3, 12]]);
    expect(() => value.dataSync()).toThrow();
    tf.dispose([x, value, grads, parameters]);
  });

  test("leaves a number in host memory for arithmetic, with its results on the device", () => {
    const [x, two] = [tf.ones([3]), tf.scalar(2)];
    for (const y of [tf.mul(x, two), tf.sub(two, x), tf.greater(x, two), tf.minimum(two, x)]) {
      expect(deviceOf(y)).toBe("meta");
      y.dispose();
    }
    expect(deviceOf(two)).toBe("cpu");
    expect(two.dataSync()[0]).toBe(2);
    tf.dispose([x, two]);
  });

  test("moves a number to the device for other operators, and where there is no tensor beside it", () => {
    const before = addon.memory().tensors;
    for (const use of [
      (number: tf.Tensor) => tf.add(number, number),
      (number: tf.Tensor) => tf.mul(number, 3),
      (number: tf.Tensor) => tf.concat([tf.reshape(number, [1]), tf.ones([2])]),
      (number: tf.Tensor) => tf.tile(tf.reshape(number, [1]), [3]),
      (number: tf.Tensor) => tf.exp(number),
    ]) {
      const number = tf.scalar(2);
      const y = tf.tidy(() => use(number));
      expect(deviceOf(y)).toBe("meta");
      expect(deviceOf(number)).toBe("meta");
      tf.dispose([number, y]);
    }
    expect(addon.memory().tensors).toBe(before);
  });
});

const stride = internalAten<number>("stride", "int");
const stridesOf = (handle: number, rank: number) => Array.from({ length: rank }, (_, axis) => stride(handle, axis));

describe.skipIf(!present)("products in bfloat16", () => {
  let backend: TorchBackend;
  beforeAll(async () => {
    await openEngine({ engine: "torch", device: "cpu" });
    backend = tf.backend() as TorchBackend;
    backend.useBfloat16(true);
  });
  afterAll(() => backend.useBfloat16(false));

  test("keep a copy of a filter, with its input channels last in memory, until the filter changes", () => {
    const [height, width, channels, out] = [3, 2, 4, 5] as const;
    const filter = tf.variable(tf.randomNormal<tf.Rank.R4>([height, width, channels, out], 0, 1, "float32", 3));
    const x = tf.randomNormal<tf.Rank.R4>([2, 6, 7, channels], 0, 1, "float32", 4);
    const products = () => {
      const y = tf.conv2d(x, filter, 1, "same");
      const copy = bfloat16CopyOf(filter) as number;
      const strides = stridesOf(copy, 4);
      expect(strides).toEqual([width * channels, channels, 1, height * width * channels]);
      return { y: y.dataSync<"float32">(), copy };
    };
    const [first, second] = [products(), products()];
    expect(second.copy).toBe(first.copy);
    filter.assign(tf.mul(filter, 2));
    const third = products();
    // Twice a number of bfloat16 is one, so that products and sums are exactly twice as large.
    expect(third.y).toEqual(first.y.map((value) => 2 * value));
    backend.useBfloat16(false);
    const exact = tf.conv2d(x, filter, 1, "same").dataSync<"float32">();
    backend.useBfloat16(true);
    const largest = exact.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(Math.max(...exact.map((value, i) => Math.abs(value - (third.y[i] as number))))).toBeLessThan(0.02 * largest);
    tf.dispose([filter, x]);
  });

  test.each([true, false])("of convolutions, and their gradients, have the channels last in memory: %p", (isMixed) => {
    backend.useBfloat16(isMixed);
    const x = tf.variable(tf.ones<tf.Rank.R4>([2, 8, 8, 3]));
    const filter = tf.variable(tf.ones<tf.Rank.R4>([3, 3, 3, 5]));
    const { value, grads } = tf.variableGrads(() => tf.sum(tf.conv2d(x, filter, 2, "valid")), [x, filter]);
    backend.useBfloat16(true);
    const dx = grads[x.name] as tf.Tensor;
    expect([dx.shape, grads[filter.name]?.shape]).toEqual([x.shape, filter.shape]);
    expect(stridesOf(dataOf(dx.dataId).handle, 4)).toEqual([8 * 8 * 3, 8 * 3, 3, 1]);
    tf.dispose([value, grads, x, filter]);
  });
});
