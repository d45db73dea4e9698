// Einsum of one or two tensors, in tf.* operations: axes that occur in one operand only and not in the result are
// summed first, the rest is one batched matrix product. In TensorFlow.js's backends the kernel is missing, or it
// computes the whole product before it sums and is wrong if an axis is summed in one operand only. Einsum has no
// gradient.

import * as tf from "@tensorflow/tfjs-core";
import { defineKernel } from "../../tfjs/registry.ts";

/** Registers the kernel for a backend. If the backend has one, it is replaced. */
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
  // The labels of the result come first in the numbering, in the order of the result's axes.
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
  // The result must be a new tensor, also if it equals an operand.
  return tf.clone(order(product, result));
}

/** Sums over the axes whose labels `drop` selects. */
function sumAway({ tensor, labels }: Labeled, drop: (label: number) => boolean): Labeled {
  const axes = labels.flatMap((label, axis) => (drop(label) ? [axis] : []));
  return axes.length === 0
    ? { tensor, labels }
    : { tensor: tf.sum(tensor, axes), labels: labels.filter((label) => !drop(label)) };
}

/** Transposes the axes into the order of the wanted labels. */
function order({ tensor, labels }: Labeled, wanted: readonly number[]): tf.Tensor {
  const perm = wanted.map((label) => labels.indexOf(label));
  return perm.every((axis, place) => axis === place) ? tensor : tf.transpose(tensor, perm);
}

/** The product of both operands as one batched matrix product, summed over shared labels that the result lacks. */
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

/** Transposes the axes into the order of the groups and merges each group into one axis. */
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
