// The loss of a student of a teacher's logits: its value against float64 sums, its gradients against differences of those
// sums, on every engine.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { type TeachingOptions, taughtLoss } from "../../workbench/train/distillation.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, liveTensors, sample, toTensor } from "../engine/ops/operands.ts";

const [ROWS, CLASSES] = [5, 7];
const stored = { student: sample(1, [ROWS, CLASSES]), teacher: sample(2, [ROWS, CLASSES]) };
const LABELS = 1.75;

const rowOf = (values: ArrayLike<number>, row: number): number[] =>
  Array.from({ length: CLASSES }, (_, k) => values[row * CLASSES + k] as number);

function logSoftmax(row: number[], temperature: number): number[] {
  const scaled = row.map((z) => z / temperature);
  const most = Math.max(...scaled);
  const lse = most + Math.log(scaled.reduce((sum, z) => sum + Math.exp(z - most), 0));
  return scaled.map((z) => z - lse);
}

function expected(
  student: ArrayLike<number>,
  teacher: ArrayLike<number>,
  { temperature = 2, weight = 0.5 }: TeachingOptions,
): number {
  let sum = 0;
  for (let row = 0; row < ROWS; row++) {
    const own = logSoftmax(rowOf(student, row), temperature);
    logSoftmax(rowOf(teacher, row), temperature).forEach((q, k) => {
      sum += Math.exp(q) * (q - (own[k] as number));
    });
  }
  return (1 - weight) * LABELS + (weight * temperature ** 2 * sum) / ROWS;
}

function slopes(options: TeachingOptions): Float64Array {
  const at = Float64Array.from(stored.student.values);
  const step = 1e-5;
  return at.map((value, i) => {
    const [up, down] = [step, -step].map((by) => {
      const moved = at.slice();
      moved[i] = value + by;
      return expected(moved, stored.teacher.values, options);
    }) as [number, number];
    return (up - down) / (2 * step);
  });
}

forEachEngine("taughtLoss", () => {
  test.each([{}, { temperature: 1, weight: 0.3 }, { temperature: 4, weight: 1 }])(
    "is the labels' loss and the divergence at %p, with their gradients",
    async (options) => {
      const before = liveTensors();
      const [logits, teacher] = [toTensor(stored.student), toTensor(stored.teacher)] as [tf.Tensor2D, tf.Tensor2D];
      const labels = tf.scalar(LABELS);
      const { value, grads } = tf.valueAndGrads((logits, labels) =>
        taughtLoss(
          { logits: logits as tf.Tensor2D, labels: labels as tf.Scalar, teacher: () => tf.clone(teacher) },
          options,
        ),
      )([logits, labels]);
      expectClose(await value.data(), [expected(stored.student.values, stored.teacher.values, options)]);
      expectClose((await grads[0]?.data()) as Float32Array, slopes(options));
      expectClose((await grads[1]?.data()) as Float32Array, [1 - (options.weight ?? 0.5)]);
      tf.dispose([logits, teacher, labels, value, grads]);
      expect(liveTensors()).toEqual(before);
    },
  );

  test("refuses a temperature of 0, a weight above 1, and a teacher of other classes", () => {
    const [logits, other, labels] = [tf.zeros([3, 4]), tf.zeros([3, 5]), tf.scalar(0)] as [
      tf.Tensor2D,
      tf.Tensor2D,
      tf.Scalar,
    ];
    const loss = (options: TeachingOptions, teacher = logits) => {
      return () => taughtLoss({ logits, labels, teacher: () => teacher }, options);
    };
    const before = liveTensors();
    expect(loss({ temperature: 0 })).toThrow("temperature must be a number above 0, got 0");
    expect(loss({ weight: 1.5 })).toThrow("weight must be from 0 to 1, got 1.5");
    expect(loss({}, other)).toThrow("teacher logits must be float32 (3, 4), got float32 (3, 5)");
    expect(liveTensors()).toEqual(before);
    tf.dispose([logits, other, labels]);
  });
});
