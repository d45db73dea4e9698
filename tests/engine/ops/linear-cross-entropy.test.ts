// linearCrossEntropy against the two ops that it is made of, whose own numbers are tested beside it: values and gradients
// for any size of chunk.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { crossEntropy, linear, linearCrossEntropy, linearNll } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";
import { expectClose, read } from "./operands.ts";

const ROWS = 11;
const CLASSES = 13;

function operands() {
  return {
    x: tf.randomNormal([ROWS, 5], 0, 1, "float32", 1) as tf.Tensor2D,
    weight: tf.randomNormal([CLASSES, 5], 0, 1, "float32", 2) as tf.Tensor2D,
    targets: tf.tensor1d(
      Int32Array.from({ length: ROWS }, (_, i) => (i * 5) % CLASSES),
      "int32",
    ),
  };
}

forEachEngine("linearCrossEntropy", () => {
  test("is the mean of crossEntropy over linear, in chunks of any size, with its gradients", async () => {
    const { x, weight, targets } = operands();
    const plain = tf.valueAndGrads((x: tf.Tensor, weight: tf.Tensor) =>
      tf.mul(tf.mean(crossEntropy(linear(x, weight), targets)), 3),
    )([x, weight]);
    for (const chunk of [1, 2 * CLASSES, 4 * CLASSES + 1, 2 ** 25]) {
      const chunked = tf.valueAndGrads((x: tf.Tensor, weight: tf.Tensor) =>
        tf.mul(linearCrossEntropy(x, weight, targets, { chunk }), 3),
      )([x, weight]);
      expectClose(await read(chunked.value), await read(plain.value));
      for (const i of [0, 1])
        expectClose(await read(chunked.grads[i] as tf.Tensor), await read(plain.grads[i] as tf.Tensor));
      const alone = linearCrossEntropy(x, weight, targets, { chunk });
      expectClose(await read(tf.mul(alone, 3)), await read(plain.value));
      tf.dispose([chunked.value, chunked.grads, alone]);
    }
    tf.dispose([x, weight, targets, plain.value, plain.grads]);
  });

  test("of a fixed weight has the same value and gradient of x, and none of the weight", async () => {
    const { x, weight, targets } = operands();
    const both = tf.valueAndGrads((x: tf.Tensor, weight: tf.Tensor) => linearCrossEntropy(x, weight, targets))([
      x,
      weight,
    ]);
    for (const chunk of [2 * CLASSES, 2 ** 25]) {
      const options = { chunk, weightIsFixed: true };
      const { value, grad } = tf.valueAndGrad((x: tf.Tensor) => linearCrossEntropy(x, weight, targets, options))(x);
      expectClose(await read(value), await read(both.value));
      expectClose(await read(grad), await read(both.grads[0] as tf.Tensor));
      tf.dispose([value, grad]);
    }
    const asked = tf.grad((weight: tf.Tensor) => linearCrossEntropy(x, weight, targets, { weightIsFixed: true }));
    expect(() => asked(weight)).toThrow("Cannot compute gradient of y=f(x) with respect to x");
    tf.dispose([x, weight, targets, both.value, both.grads]);
  });

  test("by rows is crossEntropy over linear", async () => {
    const { x, weight, targets } = operands();
    const plain = crossEntropy(linear(x, weight), targets);
    for (const chunk of [1, 3 * CLASSES, 2 ** 25]) {
      expectClose(await read(linearNll(x, weight, targets, { chunk })), await read(plain));
    }
    tf.dispose([x, weight, targets, plain]);
  });

  test("leaves no tensor behind", () => {
    const { x, weight, targets } = operands();
    const before = tf.memory().numTensors;
    const { value, grads } = tf.valueAndGrads((x: tf.Tensor, weight: tf.Tensor) =>
      linearCrossEntropy(x, weight, targets, { chunk: 30 }),
    )([x, weight]);
    tf.dispose([value, grads]);
    linearCrossEntropy(x, weight, targets).dispose();
    linearNll(x, weight, targets).dispose();
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose([x, weight, targets]);
  });

  test("names the operand that does not fit", () => {
    const { x, weight, targets } = operands();
    expect(() => linearCrossEntropy(x, weight.slice([0, 0], [13, 4]), targets)).toThrow(
      "linearCrossEntropy: weight must be float32 (classes, 5), got float32 (13, 4)",
    );
    expect(() => linearCrossEntropy(x, weight, targets.slice(1))).toThrow(/targets must be int32 \(11\)/);
    expect(() => linearNll(x, weight, targets, { chunk: 0 })).toThrow(/chunk must be a number above 0, got 0/);
    tf.dispose([x, weight, targets]);
  });
});
