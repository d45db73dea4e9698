// The loss of learning from targets and a teacher: PyTorch's number and gradients, and what must hold at its ends.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { linearCrossEntropy } from "../../workbench/engine/ops/index.ts";
import { type DistillationOptions, distillationLoss } from "../../workbench/train/distillation.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, liveTensors, sample, sampleIds, toTensor } from "../engine/ops/operands.ts";
import { PATIENCE } from "../python/python.ts";
import { fromPytorch, HAS_PYTORCH } from "./pytorch.ts";

const [ROWS, WIDTH, TEACHER_WIDTH, CLASSES] = [7, 6, 9, 13];
const stored = {
  rows: sample(1, [ROWS, WIDTH]),
  head: sample(2, [CLASSES, WIDTH]),
  teacher_rows: sample(3, [ROWS, TEACHER_WIDTH]),
  teacher_head: sample(4, [CLASSES, TEACHER_WIDTH]),
};
const ids = sampleIds(5, ROWS, CLASSES);

interface Found {
  loss: number;
  rows: Float32Array;
  head: Float32Array;
}

/** The loss and its gradients. With `same`, the student is its own teacher. */
async function run(options: DistillationOptions, { same = false, headIsFixed = false } = {}): Promise<Found> {
  const [rows, head] = [toTensor(stored.rows), toTensor(stored.head)];
  const own = same ? [rows, head] : [toTensor(stored.teacher_rows), toTensor(stored.teacher_head)];
  const [teacherRows, teacherHead] = own as [tf.Tensor2D, tf.Tensor2D];
  const targets = tf.tensor1d(ids, "int32");
  const loss = (rows: tf.Tensor, head: tf.Tensor) =>
    distillationLoss(
      {
        rows: rows as tf.Tensor2D,
        head: head as tf.Tensor2D,
        headIsFixed,
        targets,
        teacher: () => ({ rows: teacherRows, head: teacherHead }),
      },
      options,
    );
  const wanted = headIsFixed ? [rows] : [rows, head];
  const { value, grads } = tf.valueAndGrads((rows, own = head) => loss(rows as tf.Tensor, own))(wanted);
  const [number, dRows, dHead = new Float32Array()] = await Promise.all([value, ...grads].map((each) => each.data()));
  tf.dispose([rows, head, targets, teacherRows, teacherHead, value, grads]);
  return { loss: (number as Float32Array)[0] as number, rows: dRows as Float32Array, head: dHead as Float32Array };
}

forEachEngine("distillationLoss", () => {
  test.skipIf(!HAS_PYTORCH)(
    "gives PyTorch's loss and gradients, whatever the chunks",
    async () => {
      for (const [temperature, weight] of [
        [1, 0.5],
        [2, 0.3],
        [4, 1],
      ] as const) {
        const listed = Object.fromEntries(
          Object.entries(stored).map(([name, { values, shape }]) => [name, { values: [...values], shape }]),
        );
        const given = { what: "distillation", ...listed, targets: [...ids], temperature, weight };
        const expected = await fromPytorch<{ loss: number; rows: number[]; head: number[] }>(given);
        for (const chunk of [1, 3 * CLASSES, 1000]) {
          const before = liveTensors();
          const { loss, rows, head } = await run({ temperature, weight, chunk });
          expect(liveTensors()).toEqual(before);
          expectClose([loss], [expected.loss]);
          expectClose(rows, expected.rows);
          expectClose(head, expected.head);
        }
      }
    },
    PATIENCE,
  );

  test("is the cross-entropy where the teacher has no weight", async () => {
    const [rows, head] = [toTensor(stored.rows), toTensor(stored.head)];
    const targets = tf.tensor1d(ids, "int32");
    const { value, grads } = tf.valueAndGrads((rows, head) =>
      linearCrossEntropy(rows as tf.Tensor, head as tf.Tensor, targets),
    )([rows, head]);
    const found = await run({ weight: 0, temperature: 3 });
    expectClose([found.loss], await value.data());
    expectClose(found.rows, (await grads[0]?.data()) as Float32Array);
    expectClose(found.head, (await grads[1]?.data()) as Float32Array);
    tf.dispose([rows, head, targets, value, grads]);
  });

  test("of a fixed head has the same value and gradient of the rows", async () => {
    const both = await run({ temperature: 2, weight: 0.3 });
    for (const chunk of [2 * CLASSES, 1000]) {
      const fixed = await run({ temperature: 2, weight: 0.3, chunk }, { headIsFixed: true });
      expectClose([fixed.loss], [both.loss]);
      expectClose(fixed.rows, both.rows);
      expect(fixed.head).toEqual(new Float32Array());
    }
  });

  test("is 0 with no slope where the student is the teacher and targets have no weight", async () => {
    const { loss, rows, head } = await run({ weight: 1, temperature: 2 }, { same: true });
    expect(Math.abs(loss)).toBeLessThan(1e-6);
    for (const slope of [...rows, ...head]) expect(Math.abs(slope)).toBeLessThan(1e-6);
  });

  test("refuses a temperature of 0, a weight above 1, and a teacher of other rows or classes", () => {
    const [rows, head, other] = [tf.zeros([3, 2]), tf.zeros([4, 2]), tf.zeros([2, 2])] as tf.Tensor2D[] as [
      tf.Tensor2D,
      tf.Tensor2D,
      tf.Tensor2D,
    ];
    const targets = tf.zeros([3], "int32") as tf.Tensor1D;
    const loss = (options: DistillationOptions, teacher = { rows, head }) => {
      return () => distillationLoss({ rows, head, targets, teacher: () => teacher }, options);
    };
    const before = liveTensors();
    expect(loss({ temperature: 0 })).toThrow("temperature must be a number above 0, got 0");
    expect(loss({ weight: 1.5 })).toThrow("weight must be from 0 to 1, got 1.5");
    expect(loss({}, { rows: other, head })).toThrow("teacher rows must be float32 (3, width), got float32 (2, 2)");
    expect(loss({}, { rows, head: other })).toThrow("teacher head must be float32 (4, 2), got float32 (2, 2)");
    expect(liveTensors()).toEqual(before);
    tf.dispose([rows, head, other, targets]);
  });
});
