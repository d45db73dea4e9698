// crossEntropy over ATen. The log-sum-exp goes some rows at a time, so that its temporary copy of the logits stays
// small; the gradient is made in the one tensor that it needs anyway.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import * as names from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import { single } from "../precision.ts";
import type { KernelTable } from "../register.ts";
import { fusedKernel } from "./fused-kernel.ts";

const narrow = aten("narrow");
const logSumExp = aten("logsumexp");
const mean = aten("mean", "dim");
const concatenate = aten("cat");
const newEmpty = aten("new_empty");
const gather = aten("gather");
const scatterAddInPlace = aten("scatter_add_");
const newFull = aten("new_full");
const clamp = aten("clamp");
const cast = aten("to", "dtype");
const unsqueeze = aten("unsqueeze");
const squeeze = aten("squeeze", "dim");
const subtract = aten("sub", "Tensor");
const subtractInPlace = aten("sub_", "Scalar");
const expInPlace = aten("exp_");
const multiplyInPlace = aten("mul_", "Tensor");
const equals = aten("eq", "Scalar");
const differs = aten("ne", "Tensor");
const fillInPlace = aten("masked_fill_", "Scalar");
const clone = aten("clone");

const CONTIGUOUS_FORMAT = 0; // c10::MemoryFormat

// Logits at a time: enough work for every thread of a CPU, and for a GPU.
const CPU_CHUNK = 1 << 22;
const GPU_CHUNK = 1 << 26;

/** One number a row, `reduce` getting some rows at a time in float32. */
function eachChunk(logits: TensorInfo, backend: TorchBackend, reduce: (rows: TensorInfo | Handle) => Handle): Handle {
  const [rows, classes] = logits.shape as [number, number];
  if (rows === 0) return newEmpty(logits, [0]);
  const limit = backend.device === "cpu" ? CPU_CHUNK : GPU_CHUNK;
  const count = Math.max(1, Math.floor(limit / classes));
  if (count >= rows) return reduce(single(logits, backend));
  const parts: Handle[] = [];
  for (let start = 0; start < rows; start += count) {
    parts.push(reduce(single(narrow(logits, 0, start, Math.min(count, rows - start)), backend)));
  }
  return concatenate(parts);
}

/** Targets as columns of the logits, some column where they are none. */
const columns = (targets: TensorInfo, classes: number) => clamp(targets, 0, classes - 1);

/** Sets a row's value to 0 where its target is ignored, to NaN where it is no class. */
function settleInPlace(values: Handle, targets: TensorInfo, classes: number, ignoreIndex: number): void {
  fillInPlace(values, differs(columns(targets, classes), targets), Number.NaN);
  fillInPlace(values, equals(targets, ignoreIndex), 0);
}

/** (rows) → (rows, 1), as an index. */
const asIndex = (targets: TensorInfo, classes: number) => unsqueeze(cast(columns(targets, classes), "int64"), 1);

export const fusedLoss: KernelTable = {
  [names.CROSS_ENTROPY]: fusedKernel<names.CrossEntropyInputs, names.CrossEntropyAttributes>(
    (inputs, attributes, backend) => {
      const { logits, targets } = inputs;
      const { ignoreIndex, labelSmoothing } = attributes;
      const classes = logits.shape[1] as number;
      const total = eachChunk(logits, backend, (rows) => logSumExp(rows, [1]));
      const likely = squeeze(gather(logits, 1, asIndex(targets, classes)), 1);
      const loss = subtract(total, likely, 1 - labelSmoothing);
      if (labelSmoothing === 0) {
        settleInPlace(loss, targets, classes, ignoreIndex);
        return [loss, total];
      }
      const average = eachChunk(logits, backend, (rows) => mean(rows, [1]));
      const smoothed = subtract(loss, average, labelSmoothing);
      settleInPlace(smoothed, targets, classes, ignoreIndex);
      return [smoothed, total];
    },
  ),
  [names.CROSS_ENTROPY_GRADIENT]: fusedKernel<names.CrossEntropyGradientInputs, names.CrossEntropyAttributes>(
    (inputs, attributes, backend) => {
      const { dy, logits, targets, logSumExp: total } = inputs;
      const { ignoreIndex, labelSmoothing } = attributes;
      const [rows, classes] = logits.shape as [number, number];
      const gradient = subtract(logits, unsqueeze(total, 1));
      expInPlace(gradient);
      const share = newFull(total, [rows, 1], labelSmoothing - 1);
      scatterAddInPlace(gradient, 1, asIndex(targets, classes), share);
      if (labelSmoothing > 0) subtractInPlace(gradient, labelSmoothing / classes);
      const outer = clone(single(dy, backend), CONTIGUOUS_FORMAT);
      settleInPlace(outer, targets, classes, ignoreIndex);
      multiplyInPlace(gradient, unsqueeze(outer, 1));
      return gradient;
    },
  ),
};
