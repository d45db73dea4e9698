// What a student learns from a teacher's logits (Hinton et al. 2015, arXiv 1503.02531): how far its distribution is from
// the teacher's, both softened by a temperature, and how much of the loss that is. Whose logits they are is the tasks'
// affair; logits too large to keep are distillation.ts's.

import {
  add,
  div,
  exp,
  logSoftmax,
  mul,
  type Scalar,
  sub,
  sum,
  type Tensor,
  type Tensor2D,
} from "@tensorflow/tfjs-core";
import { differentiable } from "../engine/ops/op.ts";
import { expectOperand, expectSetting } from "../engine/ops/operands.ts";
import type { Settings } from "./task.ts";

export interface TeachingOptions {
  /** T, above 0. Default 2 */
  temperature?: number;
  /** α, the teacher's share of the loss, 0 to 1. Default 0.5 */
  weight?: number;
}

/** With their defaults. @param operation what errors call it @throws ShapeError for one that makes no sense */
export function expectTeaching(
  operation: string,
  { temperature = 2, weight = 0.5 }: TeachingOptions,
): Required<TeachingOptions> {
  expectSetting(operation, { temperature }, "a number above 0", temperature > 0);
  expectSetting(operation, { weight }, "from 0 to 1", weight >= 0 && weight <= 1);
  return { temperature, weight };
}

/** What a run must agree in to be resumed. */
export const teachingSettings = ({ temperature = 2, weight = 0.5 }: TeachingOptions): Settings => ({
  temperature,
  "teacher weight": weight,
});

export interface Divergence {
  /** Σ over rows of T² KL(softmax(t/T) ‖ softmax(z/T)) */
  value: Scalar;
  /** its gradient in z: T (softmax(z/T) − softmax(t/T)) */
  slope(): Tensor2D;
}

/** Off the tape, in the caller's tidy. @param logits of student (z) and teacher (t), float32 (rows, classes) */
export function divergence(
  { student, teacher }: { student: Tensor2D; teacher: Tensor2D },
  temperature: number,
): Divergence {
  const wanted = logSoftmax(div(teacher, temperature));
  const own = logSoftmax(div(student, temperature));
  const p = exp(wanted);
  const value = mul(sum(mul(p, sub(wanted, own))), temperature ** 2) as Scalar;
  wanted.dispose();
  return { value, slope: () => mul(sub(exp(own), p), temperature) };
}

export interface TaughtOperands {
  /** of the student, float32 (rows, classes) */
  logits: Tensor2D;
  /** mean loss of its labels, whatever they are: numbers of classes, smoothed, mixed */
  labels: Scalar;
  /** logits of the teacher, float32 (rows, classes); called off the tape */
  teacher: () => Tensor2D;
}

/**
 * (1 - α) labels + α T² KL(softmax(t/T) ‖ softmax(z/T)), the divergence's mean over rows. Differentiable in the student's
 * logits and in the labels' loss.
 * @throws ShapeError when an operand or a setting does not fit
 */
export function taughtLoss({ logits, labels, teacher }: TaughtOperands, options: TeachingOptions = {}): Scalar {
  const { temperature, weight } = expectTeaching("taughtLoss", options);
  const count = logits.shape[0];
  const apart = differentiable({
    name: "taughtLoss",
    inputs: { logits },
    forward: (recording) => {
      const wanted = teacher();
      expectOperand("taughtLoss", { "teacher logits": wanted }, { dtype: "float32", shape: logits.shape });
      const { value, slope } = divergence({ student: logits, teacher: wanted }, temperature);
      return { value: div(value, count), saved: recording ? [div(slope(), count)] : [] };
    },
    backward: (dy, [slope]) => ({ logits: () => mul(slope as Tensor, dy) }),
  });
  return add(mul(labels, 1 - weight), mul(apart, weight));
}
