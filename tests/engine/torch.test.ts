// What only the torch engine has: tensors outside JavaScript, memory shared between tensors, devices and precisions.

import { beforeAll, describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { type Addon, loadAddon } from "../../workbench/engine/backends/torch/addon.ts";
import {
  aten,
  enterArena,
  handleOf,
  lackingOperators,
  leaveArena,
} from "../../workbench/engine/backends/torch/aten.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { ENGINES } from "./engines.ts";

const present = ENGINES.some(({ name }) => name === "torch");

describe.skipIf(!present)("the torch engine", () => {
  let addon: Addon;
  beforeAll(async () => {
    await openEngine({ engine: "torch", device: "cpu" });
    addon = loadAddon().addon;
  });

  /** Native tensors that `body` leaves behind. */
  const leftBehind = (body: () => void): number => {
    const before = addon.memory().tensors;
    tf.tidy(() => {
      body();
      return undefined;
    });
    return addon.memory().tensors - before;
  };

  test("has all operators of libtorch that kernels call, and names those that are not there", () => {
    expect(lackingOperators()).toEqual([]);
    const others = [
      { name: "aten::add", overload: "Tensor" },
      { name: "aten::add", overload: "of_later_versions" },
      { name: "aten::of_later_versions", overload: "" },
    ];
    expect(lackingOperators(others)).toEqual(["aten::add.of_later_versions", "aten::of_later_versions"]);
  });

  test("frees every native tensor that kernels make on their way, gradients included", () => {
    const image = tf.randomUniform([2, 6, 6, 3], -1, 1, "float32", 1);
    const filter = tf.randomUniform([3, 3, 3, 4], -1, 1, "float32", 2) as tf.Tensor4D;
    const network = (x: tf.Tensor) => {
      const conv = tf.conv2d(x as tf.Tensor4D, filter, [2, 2], "same");
      const pooled = tf.avgPool(tf.maxPool(tf.elu(conv), 2, 1, "same"), 2, 1, "same");
      const gathered = tf.gather(tf.reshape(pooled, [-1, 4]), tf.tensor1d([0, 2, 1], "int32"));
      const padded = tf.mirrorPad(
        tf.slice(tf.reverse(gathered, 0), [0, 1], [2, 2]),
        [
          [1, 1],
          [0, 0],
        ],
        "reflect",
      );
      return tf.sum(tf.logSoftmax(tf.cumsum(padded, 1)));
    };
    expect(leftBehind(() => void tf.grad(network)(image))).toBe(0);
    tf.dispose([image, filter]);
  });

  test("takes no integer that an operator returns for a handle, however large", () => {
    // 2^24 + slot is what the first tensor of each slot is called.
    const held = tf.ones([2]);
    const [expand, size] = [aten("expand"), aten("size", "int")];
    const long = 2 ** 24 + (handleOf(held) % 2 ** 24);
    const mark = enterArena();
    expect(size(expand(held, [long, 2]), 0)).toBe(long);
    leaveArena(mark, undefined);
    expect([...held.dataSync()]).toEqual([1, 1]);
    held.dispose();
  });

  test("frees what a kernel had made when it fails", () => {
    const a = tf.ones([2, 3]);
    expect(leftBehind(() => expect(() => tf.einsum("ij,jk->ik", a, a)).toThrow())).toBe(0);
    a.dispose();
  });

  test("reads a transposed view in its own order", () => {
    tf.tidy(() => {
      const a = tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]);
      expect([...tf.transpose(a).dataSync()]).toEqual([1, 4, 2, 5, 3, 6]);
      expect([...tf.reshape(tf.transpose(a), [6]).dataSync()]).toEqual([1, 4, 2, 5, 3, 6]);
    });
  });

  test("lets a tensor of another engine move in and out with its values", async () => {
    await openEngine({ engine: "cpu" });
    const made = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    await openEngine({ engine: "torch", device: "cpu" });
    const doubled = tf.mul(made, 2);
    expect([...doubled.dataSync()]).toEqual([2, 4, 6, 8]);
    await openEngine({ engine: "cpu" });
    expect([...tf.add(doubled, 1).dataSync()]).toEqual([3, 5, 7, 9]);
    await openEngine({ engine: "torch", device: "cpu" });
    tf.dispose([made, doubled]);
  });

  test("names a disposed tensor and an operator's own complaint in one line", () => {
    const a = tf.ones([2]);
    a.dispose();
    expect(() => a.dataSync()).toThrow("Tensor is disposed.");
    expect(() => tf.tidy(() => tf.conv2d(tf.ones<tf.Rank.R4>([1, 4, 4, 3]), tf.ones([3, 3, 2, 4]), 1, "same"))).toThrow(
      /depth/,
    );
  });

  test("gives the same numbers twice from one seed", async () => {
    const engine = await openEngine({ engine: "torch", device: "cpu" });
    const draw = () => {
      engine.seed(3);
      const handle = addon.call(addon.lookup("aten::rand", ""), [4]) as number;
      const values = [...new Float32Array(addon.read(handle))];
      addon.free(handle);
      return values;
    };
    expect(draw()).toEqual(draw());
  });

  test("refuses a precision that the device lacks, and a device that is not available", async () => {
    await expect(openEngine({ engine: "torch", device: "cpu", precision: "bfloat16" })).rejects.toThrow(
      'precision "bfloat16" needs a CUDA device, the engine runs on cpu',
    );
    if (addon.cudaDevices().length === 0) {
      await expect(openEngine({ engine: "torch", device: "cuda" })).rejects.toThrow(
        'device "cuda" is not available: libtorch sees cpu',
      );
    }
  });

  test("steps AdamW in the forms for GPUs as on the CPU", () => {
    const forms = ["adamw_", "adamw_foreach_", "adamw_fused_"].map((name) => {
      const values = (seed: number) => tf.randomUniform([5, 7], 0.1, 1, "float32", seed);
      const single = (seed: number) => tf.randomUniform([1, 3], 0.1, 1, "float32", seed);
      const lists = [1, 2, 3, 4].map((seed) => [values(seed), tf.zeros([0, 2]), single(seed)]);
      const mark = enterArena();
      aten<number[]>(name, "", "gblr")(...lists, 0.01, 0.9, 0.95, 1e-8, 0.1, 3, tf.scalar(0.5));
      leaveArena(mark, undefined);
      const [parameters, , first, second] = lists as tf.Tensor[][];
      return [parameters, first, second].flatMap((list) => (list as tf.Tensor[]).flatMap((x) => [...x.dataSync()]));
    });
    const [expected, ...others] = forms as [number[], ...number[][]];
    for (const form of others) {
      for (const [i, value] of form.entries()) expect(value).toBeCloseTo(expected[i] as number, 5);
    }
  });

  test("asks the system for no memory after the first steps of a training loop", () => {
    const w = tf.variable(tf.randomUniform([256, 256], -0.1, 0.1, "float32", 1));
    const x = tf.randomUniform([512, 256], -1, 1, "float32", 2);
    const optimizer = tf.train.adam(1e-3);
    const step = () =>
      optimizer.minimize(() =>
        tf.mean(tf.square(tf.matMul(tf.relu(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D)), w as tf.Tensor2D))),
      );
    for (let i = 0; i < 3; i++) step();
    const before = addon.memory().fresh;
    for (let i = 0; i < 5; i++) step();
    expect(addon.memory().fresh).toBe(before);
    optimizer.dispose();
    tf.dispose([w, x]);
  });
});
