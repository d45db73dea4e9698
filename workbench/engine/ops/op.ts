// Helpers for writing an op: recording it on the gradient tape, running its kernel, and registering its composition of
// tf.* operations. Each op calls a kernel by name (kernels.ts lists them). The torch backend implements the kernels
// with ATen; every other backend runs the composition.

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
import { type GradientThunk, isRecording, recordCall } from "../tfjs/internals.ts";
import { isNeeded } from "../tfjs/tape.ts";

/** For each input, by its name, a function that computes its gradient. TensorFlow.js calls only those that it needs. */
export type Gradients = Record<string, GradientThunk>;

interface DifferentiableOp {
  /** names the scope in profiles and error messages */
  name: string;
  /** the tensors that have gradients, by name */
  inputs: NamedTensorMap;
  /**
   * Computes the value and the tensors to save for `backward`. If `recording` is false, no gradient will be computed
   * and the saved tensors are not kept
   */
  forward: (recording: boolean) => { value: Tensor; saved: Tensor[] };
  /**
   * Returns the gradients of the inputs, which must be new tensors and never `dy` or a saved tensor. `needed` tells whether
   * the gradient of an input will be used, for ops that compute several at once
   */
  backward: (dy: Tensor, saved: Tensor[], needed: (input: string) => boolean) => Gradients;
}

/**
 * Runs `forward` off the gradient tape and records the op as one node, with the tensors that `forward` saves.
 * Intermediate tensors are disposed of. tf.customGrad is not used because it computes all gradients, including those
 * that are not needed. registerGradient is not used because, for a kernel with several outputs, TensorFlow.js creates a
 * gradient of zeros on the host for each output except the first. For a preactivation this takes megabytes.
 */
export function differentiable({ name, inputs, forward, backward }: DifferentiableOp): Tensor {
  const recording = isRecording();
  // Without a tape a node has no use, and making it takes much of the time of an operation on one token.
  if (!recording) return tidy(name, () => forward(false).value);
  return tidy(name, () =>
    recordCall({
      inputs,
      forwardFunc: (_, save) => {
        const { value, saved } = forward(recording);
        save(saved);
        return value;
      },
      backwardsFunc: (dy, saved) => backward(dy, saved, isNeeded),
    }),
  );
}

type Attributes = Record<string, number | boolean | string | readonly number[] | Uint8Array>;

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

/** The names of all backends except torch. */
const PORTABLE_BACKENDS = ["wasm", "cpu", "webgpu", "tensorflow"] as const;

/** The inputs of a kernel as tensors. Optional inputs stay optional. */
export type Tensors<Inputs> = { [Name in keyof Inputs]: Tensor };

/**
 * Registers an op's composition as its kernel on every backend but torch. The composition runs off the gradient tape,
 * and its intermediate tensors are disposed of.
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

/** Reshapes x (..., width) to (rows, width). The width may be 0. */
export function asRows(x: Tensor): Tensor {
  if (x.rank === 2) return x;
  const rows = x.shape.slice(0, -1).reduce((product, size) => product * size, 1);
  return reshape(x, [rows, x.shape[x.rank - 1] as number]);
}

/** Sums x (rows, width) over its rows. Returns a tensor (width). */
export function sumRows(x: Tensor): Tensor {
  if (getBackend() === "torch") {
    return sum(x, 0);
  }
  const [rows, width] = x.shape as [number, number];
  // On the other backends a sum over the first axis transposes first and takes ten times as long as this product.
  return tidy(() => reshape(matMul(ones([1, rows]), x), [width]));
}
