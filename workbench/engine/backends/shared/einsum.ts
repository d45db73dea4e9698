// Einsum of one or two tensors, in tf.* operations: axes that occur in one operand only and not in the result are
// summed first, the rest is one batched matrix product. The kernels of TensorFlow.js's backends are missing, or compute
// the whole product before they sum, and are wrong where an axis is summed in one operand alone. Einsum has no
// gradient.

import * as tf from "@tensorflow/tfjs-core";
import { defineKernel } from "../../tfjs/registry.ts";

/** Replaces the backend's kernel, or adds one. */
export function registerEinsum(backendName: string): void {
  defineKernel(
    tf.Einsum,
    backendName,
    (inputs: Record<string, tf.Tensor>, { equation }: { equation: string }): tf.Tensor =>
      tf.tidy(() => einsum(equation, Object.values(inputs))),
  );
}

/** A tensor and, for each of its axes, the number of the label that stands for it. */
interface Labeled {
  tensor: tf.Tensor;
  labels: readonly number[];
}

function einsum(equation: string, operands: tf.Tensor[]): tf.Tensor {
  // Labels are numbered with those of the result first, in its order.
  const { allDims, summedDims, idDims } = tf.backend_util.decodeEinsumEquation(equation, operands.length);
  tf.backend_util.checkEinsumDimSizes(allDims.length, idDims, operands);
  const result = allDims.map((_, label) => label).filter((label) => !summedDims.includes(label));
  const labeled = operands.map((tensor, index) => {
    const others = idDims.flatMap((labels, other) => (other === index ? [] : labels));
    return sumAway(
      { tensor, labels: idDims[index] ?? [] },
      (label) => summedDims.includes(label) && !others.includes(label),
    );
  });
  const [left, right] = labeled as [Labeled, Labeled?];
  const product = right ? multiply(left, right, result) : left;
  // The result must be a tensor of its own, also when it is the operand unchanged.
  return tf.clone(order(product, result));
}

function sumAway({ tensor, labels }: Labeled, drop: (label: number) => boolean): Labeled {
  const axes = labels.flatMap((label, axis) => (drop(label) ? [axis] : []));
  return axes.length === 0
    ? { tensor, labels }
    : { tensor: tf.sum(tensor, axes), labels: labels.filter((label) => !drop(label)) };
}

function order({ tensor, labels }: Labeled, wanted: readonly number[]): tf.Tensor {
  const perm = wanted.map((label) => labels.indexOf(label));
  return perm.every((axis, place) => axis === place) ? tensor : tf.transpose(tensor, perm);
}

function multiply(left: Labeled, right: Labeled, result: readonly number[]): Labeled {
  const shared = left.labels.filter((label) => right.labels.includes(label));
  const stack = shared.filter((label) => result.includes(label));
  const inner = shared.filter((label) => !result.includes(label));
  const rows = left.labels.filter((label) => !shared.includes(label));
  const columns = right.labels.filter((label) => !shared.includes(label));
  const a = fold(left, [stack, rows, inner]);
  const b = fold(right, [stack, inner, columns]);
  const lengths = [...stack, ...rows, ...columns].map((label) => lengthOf(label, left, right));
  return { tensor: tf.reshape(tf.matMul(a, b), lengths), labels: [...stack, ...rows, ...columns] };
}

/** Brings the axes into the order of the groups and makes each group one axis. */
function fold(operand: Labeled, groups: readonly (readonly number[])[]): tf.Tensor {
  const lengths = groups.map((group) => group.reduce((size, label) => size * lengthOf(label, operand), 1));
  return tf.reshape(order(operand, groups.flat()), lengths);
}

function lengthOf(label: number, ...operands: Labeled[]): number {
  for (const { tensor, labels } of operands) {
    const axis = labels.indexOf(label);
    if (axis >= 0) {
      return tensor.shape[axis] as number;
    }
  }
  throw new Error(`einsum: no operand has label ${label}`);
}
