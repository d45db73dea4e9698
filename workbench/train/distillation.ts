// Distillation losses (Hinton et al. 2015, arXiv 1503.02531): the divergence of the student's distribution from the
// teacher's, both softened by a temperature, combined with the loss of the labels. `taughtLoss` takes logits.
// `distillationLoss` takes the head's inputs instead and computes logits, the largest tensors of a language model, for
// some rows at a time; if a gradient is needed, it is computed in the forward pass, so that no logits are stored.

import {
  add,
  concat,
  div,
  exp,
  fill,
  logSoftmax,
  matMul,
  mul,
  type NamedTensorMap,
  type Scalar,
  slice,
  sub,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tidy,
} from "@tensorflow/tfjs-core";
import { linear } from "../engine/ops/index.ts";
import { CROSS_ENTROPY, CROSS_ENTROPY_GRADIENT } from "../engine/ops/kernels.ts";
import { differentiable, runKernel } from "../engine/ops/op.ts";
import { expectOperand, expectSetting } from "../engine/ops/operands.ts";
import type { Settings } from "./options.ts";

/** Temperature and weight of the teacher's part of the loss. */
export interface TeachingOptions {
  /** T, above 0. Default 2 */
  temperature?: number;
  /** α, the teacher's share of the loss, 0 to 1. Default 0.5 */
  weight?: number;
}

/**
 * Checks the settings and fills in defaults.
 * @param operation name of the operation in errors
 * @throws ShapeError when a setting is out of range
 */
function expectTeaching(
  operation: string,
  { temperature = 2, weight = 0.5 }: TeachingOptions,
): Required<TeachingOptions> {
  expectSetting(operation, { temperature }, "a number above 0", temperature > 0);
  expectSetting(operation, { weight }, "from 0 to 1", weight >= 0 && weight <= 1);
  return { temperature, weight };
}

/** The settings that a resumed run must share. */
export const teachingSettings = ({ temperature = 2, weight = 0.5 }: TeachingOptions): Settings => ({
  temperature,
  "teacher weight": weight,
});

interface Divergence {
  /** Σ over rows of T² KL(softmax(t/T) ‖ softmax(z/T)) */
  value: Scalar;
  /** the gradient with respect to z: T (softmax(z/T) − softmax(t/T)) */
  slope(): Tensor2D;
}

/**
 * The divergence of the student's distribution from the teacher's. It is not recorded for gradients and runs in the
 * caller's tidy. The logits of student (z) and teacher (t) are float32 (rows, classes).
 */
function divergence({ student, teacher }: { student: Tensor2D; teacher: Tensor2D }, temperature: number): Divergence {
  const wanted = logSoftmax(div(teacher, temperature));
  const own = logSoftmax(div(student, temperature));
  const p = exp(wanted);
  const value = mul(sum(mul(p, sub(wanted, own))), temperature ** 2) as Scalar;
  wanted.dispose();
  return { value, slope: () => mul(sub(exp(own), p), temperature) };
}

/** The student's logits and label loss, and the teacher's logits. */
export interface TaughtOperands {
  /** logits of the student, float32 (rows, classes) */
  logits: Tensor2D;
  /** mean loss of the student with respect to the labels, by any loss function */
  labels: Scalar;
  /** computes the teacher's logits, float32 (rows, classes); not recorded for gradients */
  teacher: () => Tensor2D;
}

/**
 * (1 - α) labels + α T² KL(softmax(t/T) ‖ softmax(z/T)), with the mean of the divergence over rows. Differentiable in
 * the student's logits and in the loss of the labels.
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

/** Settings of the distillation loss. */
export interface DistillationOptions extends TeachingOptions {
  /**
   * maximum number of the student's logits in memory, at least one row; the teacher's and a few copies need the same
   * again. Default 2^23
   */
  chunk?: number;
}

/** Inputs and weights of the heads of student and teacher. */
export interface DistillationOperands {
  /** inputs of the student's head, float32 (rows, width) */
  rows: Tensor2D;
  /** weight of the student's head, float32 (classes, width) */
  head: Tensor2D;
  /** class of each row, int32 (rows) */
  targets: Tensor1D;
  /**
   * computes the inputs and gives the weight of the teacher's head, whose width may differ. It is not recorded for
   * gradients; the weight still belongs to the teacher
   */
  teacher: () => { rows: Tensor2D; head: Tensor2D };
  /** whether the student's head has no gradient, which saves a product as large as that of the logits. Default false */
  headIsFixed?: boolean;
}

const ATTRIBUTES = { ignoreIndex: -100, labelSmoothing: 0 };
const CHUNK = 2 ** 23;

/**
 * The mean over rows of (1 - α) (lse(z) - z[target]) + α T² KL(softmax(t/T) ‖ softmax(z/T)), with z and t
 * the logits of student and teacher. Differentiable in `rows` and `head`.
 * @throws ShapeError when an operand or a setting does not fit
 */
export function distillationLoss(operands: DistillationOperands, options: DistillationOptions = {}): Scalar {
  const { rows, head, targets, teacher, headIsFixed = false } = operands;
  const inputs: NamedTensorMap = headIsFixed ? { rows } : { rows, head };
  const { chunk = CHUNK } = options;
  expectOperand("distillationLoss", { rows }, { dtype: "float32", shape: ["rows", "width"] });
  expectOperand("distillationLoss", { head }, { dtype: "float32", shape: ["classes", rows.shape[1]] });
  expectOperand("distillationLoss", { targets }, { dtype: "int32", shape: [rows.shape[0]] });
  const { temperature, weight } = expectTeaching("distillationLoss", options);
  expectSetting("distillationLoss", { chunk }, "a number above 0", chunk > 0);
  const count = rows.shape[0];
  const each = Math.max(1, Math.floor(chunk / head.shape[0]));
  return differentiable({
    name: "distillationLoss",
    inputs,
    forward: (recording) => {
      const other = teacher();
      expectOperand("distillationLoss", { "teacher rows": other.rows }, { dtype: "float32", shape: [count, "width"] });
      const wanted = [head.shape[0], other.rows.shape[1]] as const;
      expectOperand("distillationLoss", { "teacher head": other.head }, { dtype: "float32", shape: wanted });
      const parts: ChunkLoss[] = [];
      for (let start = 0; start < count; start += each) {
        const place = { start, size: Math.min(each, count - start), of: count };
        const settings = { temperature, weight, recording };
        const part = tidy(() => chunkLoss({ ...operands, other }, place, settings)) as ChunkLoss;
        parts.push(joined(parts.pop(), part));
      }
      const [whole] = parts as [ChunkLoss];
      const { loss: value, dRows, dHead } = whole;
      return { value, saved: [dRows, dHead].filter((gradient) => gradient !== undefined) };
    },
    backward: (dy, [dRows, dHead]) => ({
      rows: () => mul(dRows as Tensor, dy),
      head: () => mul(dHead as Tensor, dy),
    }),
  }) as Scalar;
}

/** The contribution of some rows to the mean loss, and its gradients. */
type ChunkLoss = { loss: Tensor; dRows?: Tensor; dHead?: Tensor };

interface Place {
  start: number;
  size: number;
  of: number;
}

function chunkLoss(
  {
    rows,
    head,
    targets,
    other,
    headIsFixed,
  }: Omit<DistillationOperands, "teacher"> & { other: { rows: Tensor2D; head: Tensor2D } },
  { start, size, of }: Place,
  { temperature, weight, recording }: { temperature: number; weight: number; recording: boolean },
): ChunkLoss {
  const own = sliced(rows, start, size);
  const wanted = slice(targets, start, size);
  const logits = linear(own, head);
  const [likely, logSumExp] = runKernel(CROSS_ENTROPY, { logits, targets: wanted }, ATTRIBUTES) as [Tensor, Tensor];
  const teacher = linear(sliced(other.rows, start, size), other.head) as Tensor2D;
  const { value, slope } = divergence({ student: logits as Tensor2D, teacher }, temperature);
  teacher.dispose();
  const loss = add(mul(sum(likely), (1 - weight) / of), mul(value, weight / of));
  if (!recording) return { loss };
  const dy = fill([size], (1 - weight) / of);
  const gradient = runKernel(
    CROSS_ENTROPY_GRADIENT,
    { dy, logits, targets: wanted, logSumExp },
    ATTRIBUTES,
  )[0] as Tensor;
  const dLogits = add(gradient, mul(slope(), weight / of)) as Tensor2D;
  const dRows = matMul(dLogits, head);
  return headIsFixed ? { loss, dRows } : { loss, dRows, dHead: matMul(dLogits, own, true) };
}

const sliced = (x: Tensor2D, start: number, size: number): Tensor2D => slice(x, [start, 0], [size, x.shape[1]]);

function joined(before: ChunkLoss | undefined, part: ChunkLoss): ChunkLoss {
  if (!before) return part;
  const both = tidy((): ChunkLoss => {
    const loss = add(before.loss, part.loss);
    if (!before.dRows || !part.dRows) return { loss };
    const dRows = concat([before.dRows, part.dRows]);
    return before.dHead && part.dHead ? { loss, dRows, dHead: add(before.dHead, part.dHead) } : { loss, dRows };
  });
  for (const tensor of [...Object.values(before), ...Object.values(part)]) tensor?.dispose();
  return both;
}
