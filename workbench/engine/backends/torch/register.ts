// Kernels of the torch backend as tables by name. A kernel gets tensors and attributes and returns handles; registering
// a table wraps each kernel so that intermediate results are freed and results become tensors. With the engine's
// precision "bfloat16", tensors of dtype float32 may be held as bfloat16: most operators promote types by themselves or
// are converted by autocast. The functions here convert the operands of kernels that need all of them in one type.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import { defineKernel } from "../../tfjs/registry.ts";
import type { Handle } from "./addon.ts";
import { aten, enterArena, leaveArena } from "./aten.ts";
import type { TorchBackend } from "./backend.ts";

/** Attributes of a kernel, read by name. */
// biome-ignore lint/suspicious/noExplicitAny: tfjs types attributes as any; every kernel states its own
export type Attributes = any;

/** Names of the input tensors of kernels in the tables. */
type InputName =
  | "x"
  | "a"
  | "b"
  | "y"
  | "dy"
  | "t"
  | "e"
  | "alpha"
  | "condition"
  | "input"
  | "value"
  | "logits"
  | "filter"
  | "indices"
  | "updates"
  | "params"
  | "tensor"
  | "segmentIds"
  | "sparseIndices"
  | "sparseValues"
  | "defaultValue"
  | "sortedSequence"
  | "values"
  | "mean"
  | "variance"
  | "real"
  | "imag"
  | "image"
  | "images"
  | "output";
type OptionalInputName = "bias" | "preluActivationWeights" | "scale" | "offset";

/** Inputs by name; kernels of many tensors (Concat, Pack, AddN) get them by position instead. */
export type Inputs = Record<InputName, TensorInfo> & Partial<Record<OptionalInputName, TensorInfo>>;

/**
 * A kernel. It takes tensors of this backend and attributes, and returns one handle or several, or a tensor if the
 * result shares data with an input.
 */
export type TorchKernel = (inputs: Inputs, attrs: Attributes, backend: TorchBackend) => Result | Result[];
/** A result of a kernel: a handle, or a finished tensor. */
export type Result = Handle | TensorInfo;
/** Kernels by their name in TensorFlow.js or in ops/kernels.ts. */
export type KernelTable = Record<string, TorchKernel>;

/** The name under which the backend is registered with TensorFlow.js. */
export const BACKEND_NAME = "torch";

/** Adds every kernel of a table to the `torch` backend. */
export function registerTable(table: KernelTable): void {
  for (const [kernelName, kernel] of Object.entries(table)) {
    defineKernel(kernelName, BACKEND_NAME, wrap(kernel));
  }
}

/**
 * Wraps a table whose operators need all operands in one type. Tensors held as bfloat16 are converted to float32 before
 * its kernels run.
 */
export function inFloat32(table: KernelTable): KernelTable {
  const strict = Object.entries(table).map(([name, kernel]): [string, TorchKernel] => [
    name,
    (inputs, attrs, backend) => kernel(backend.mixed ? singles(inputs, backend) : inputs, attrs, backend),
  ]);
  return Object.fromEntries(strict);
}

function singles(inputs: Inputs, backend: TorchBackend): Inputs {
  const named = Object.entries(inputs).map(([name, x]) => [name, x && singleInfo(x, backend)]);
  return Object.fromEntries(named) as Inputs;
}

function wrap(kernel: TorchKernel) {
  return (inputs: Inputs, attributes: Attributes, torch: TorchBackend): TensorInfo | TensorInfo[] => {
    const mark = enterArena();
    let result: Result | Result[] | undefined;
    try {
      result = kernel(inputs, attributes, torch);
      if (typeof result === "number") return torch.adopt(result);
      return Array.isArray(result) ? result.map((item) => adopt(item, torch)) : result;
    } finally {
      leaveArena(mark, handlesIn(result));
    }
  };
}

const adopt = (item: Result, torch: TorchBackend) => (typeof item === "number" ? torch.adopt(item) : item);

function handlesIn(result: Result | Result[] | undefined): Handle | Handle[] | undefined {
  if (typeof result === "number") return result;
  return Array.isArray(result) ? result.filter((item) => typeof item === "number") : undefined;
}

const cast = aten("to", "dtype");

/** The tensor in float32, for an operator that sums over many values or takes no bfloat16 beside float32. */
export function single<T extends TensorInfo | Handle>(x: T, backend: TorchBackend): T | Handle {
  return backend.mixed ? cast(x, "float32") : x;
}

/** The tensor in bfloat16 if the engine computes products in bfloat16, otherwise unchanged. */
export function half<T extends TensorInfo | Handle>(x: T, backend: TorchBackend): T | Handle {
  return backend.mixed ? cast(x, "bfloat16") : x;
}

/** A tensor with the same shape and dtype for TensorFlow.js, held as float32. */
function singleInfo(x: TensorInfo, backend: TorchBackend): TensorInfo {
  if (!backend.mixed || x.dtype !== "float32") return x;
  return { shape: x.shape, dtype: x.dtype, dataId: { torch: { handle: cast(x, "float32"), references: 1 } } };
}

/** A kernel with its own inputs and attributes, as an entry of the kernel table. */
export function fusedKernel<Inputs, Attributes = unknown>(
  kernel: (inputs: Inputs, attributes: Attributes, backend: TorchBackend) => Result | Result[],
): TorchKernel {
  return kernel as unknown as TorchKernel;
}
