// Registers the kernel table with tfjs: wraps each entry so that temporaries are freed and results become tensors.

import { type KernelConfig, registerKernel, type TensorInfo } from "@tensorflow/tfjs-core";
import type { Handle } from "./addon.ts";
import { enterArena, leaveArena } from "./aten.ts";
import type { TorchBackend } from "./backend.ts";
import { singleInfo } from "./precision.ts";

/** Attributes of a kernel. tfjs types each kernel's apart; here they are read by name, as its kernels do. */
// biome-ignore lint/suspicious/noExplicitAny: tfjs types attributes as any; every kernel states its own
export type Attributes = any;

/** Names under which kernels of the tables get their tensors. */
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
 * A kernel: gets tensors of this backend and attributes, returns one handle or several, or a finished tensor where it
 * shares data with an input.
 */
export type TorchKernel = (inputs: Inputs, attrs: Attributes, backend: TorchBackend) => Result | Result[];
export type Result = Handle | TensorInfo;
export type KernelTable = Record<string, TorchKernel>;

export const BACKEND_NAME = "torch";

/** Adds every kernel of a table to the `torch` backend. */
export function registerTable(table: KernelTable): void {
  for (const [kernelName, kernel] of Object.entries(table)) registerKernel(wrap(kernelName, kernel));
}

/** A table whose operators want all their operands in one type: what is held as bfloat16 comes to them as float32. */
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

function wrap(kernelName: string, kernel: TorchKernel): KernelConfig {
  return {
    kernelName,
    backendName: BACKEND_NAME,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const torch = backend as TorchBackend;
      const mark = enterArena();
      let result: Result | Result[] | undefined;
      try {
        result = kernel(inputs as unknown as Inputs, attrs as Attributes, torch);
        if (typeof result === "number") return torch.adopt(result);
        return Array.isArray(result) ? result.map((item) => adopt(item, torch)) : result;
      } finally {
        leaveArena(mark, handlesIn(result));
      }
    },
  };
}

const adopt = (item: Result, torch: TorchBackend) => (typeof item === "number" ? torch.adopt(item) : item);

function handlesIn(result: Result | Result[] | undefined): Handle | Handle[] | undefined {
  if (typeof result === "number") return result;
  return Array.isArray(result) ? result.filter((item) => typeof item === "number") : undefined;
}
