// What the ops here are made of: recording an op for the gradient tape, running its kernel, and registering its
// portable composition. Each op calls a kernel by name (kernels.ts lists them). The torch backend implements the
// kernels with ATen; every other backend runs a composition of tf.* operations.

import {
  engine,
  getBackend,
  matMul,
  type NamedTensorMap,
  ones,
  registerKernel,
  reshape,
  sum,
  type Tensor,
  tidy,
} from "@tensorflow/tfjs-core";
import { isRecording, recordCall } from "../tfjs/internals.ts";

/** The gradient of each input by its name; tfjs calls only those that it needs. */
export type Gradients = Record<string, () => Tensor>;

interface DifferentiableOp {
  /** names the scope in profiles and error messages */
  name: string;
  /** what gradients flow to */
  inputs: NamedTensorMap;
  /** `recording`: whether a gradient may follow; if not, `saved` is dropped */
  forward: (recording: boolean) => { value: Tensor; saved: Tensor[] };
  /** must return new tensors, never `dy` or a saved one */
  backward: (dy: Tensor, saved: Tensor[]) => Gradients;
}

/**
 * Runs `forward` off the gradient tape and records the op as one node, with the tensors that it chooses to save.
 * Intermediate tensors are disposed. tf.customGrad is not used because it computes every gradient whether asked for or
 * not; registerGradient is not used because for a kernel of several outputs tfjs fills a zero gradient on the host for
 * each output but the first, which takes megabytes for a preactivation.
 */
export function differentiable({ name, inputs, forward, backward }: DifferentiableOp): Tensor {
  const recording = isRecording();
  return tidy(name, () =>
    recordCall({
      inputs,
      forwardFunc: (_, save) => {
        const { value, saved } = forward(recording);
        save(saved);
        return value;
      },
      backwardsFunc: backward,
    }),
  );
}

type Attributes = Record<string, number | boolean | string>;

/**
 * Runs a registered kernel and returns its outputs as a list.
 * @param inputs tensors by name, or a list for the kernels that take any number of them
 */
export function runKernel(
  name: string,
  inputs: NamedTensorMap | readonly Tensor[],
  attributes: Attributes = {},
): Tensor[] {
  // tfjs types inputs as a map, but takes a list as well, as its own Concat and AddN do.
  const outputs = engine().runKernel<Tensor | Tensor[]>(name, inputs as NamedTensorMap, attributes);
  return Array.isArray(outputs) ? outputs : [outputs];
}

/** Every backend but torch. */
const PORTABLE_BACKENDS = ["wasm", "cpu", "webgpu", "tensorflow"] as const;

/** The operands of a kernel as tensors; an optional one stays optional. */
export type Tensors<Inputs> = { [Name in keyof Inputs]: Tensor };

/**
 * Registers an op's composition as its kernel on every backend but torch. It runs off the gradient tape, and its
 * temporaries are disposed.
 * @param compute gets the kernel's inputs and attributes and returns its outputs, as kernels.ts lists them
 */
export function registerPortable<Inputs, Attributes = unknown>(
  kernelName: string,
  compute: (inputs: Tensors<Inputs>, attributes: Attributes) => Tensor | Tensor[],
): void {
  for (const backendName of PORTABLE_BACKENDS) {
    registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs }) => tidy(() => compute(inputs as Tensors<Inputs>, attrs as Attributes)),
    });
  }
}

/** x (..., width) → (rows, width), also where width is 0. */
export function asRows(x: Tensor): Tensor {
  if (x.rank === 2) return x;
  const rows = x.shape.slice(0, -1).reduce((product, size) => product * size, 1);
  return reshape(x, [rows, x.shape[x.rank - 1] as number]);
}

/** x (rows, width) → the sum over rows (width). */
export function sumRows(x: Tensor): Tensor {
  if (getBackend() === "torch") {
    return sum(x, 0);
  }
  const [rows, width] = x.shape as [number, number];
  // On the other backends a sum over the first axis transposes first, and takes ten times as long as this product.
  return tidy(() => reshape(matMul(ones([1, rows]), x), [width]));
}
