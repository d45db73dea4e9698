// Puts a fused op on the gradient tape as one node that keeps what it likes for its gradient. Not tf.customGrad, which
// computes every gradient whether asked for or not, and not registerGradient: for a kernel of several outputs tfjs
// fills a zero gradient on the host for each output but the first, megabytes where that is a preactivation.

import { engine, type NamedTensorMap, type Tensor, tidy } from "@tensorflow/tfjs-core";

/** The gradient of each input by its name; tfjs calls only those that it needs. */
export type Gradients = Record<string, () => Tensor>;

export interface DifferentiableOp {
  /** names the scope in profiles and error messages */
  name: string;
  /** what gradients flow to */
  inputs: NamedTensorMap;
  /** `recording`: whether a gradient may follow; if not, `saved` is dropped */
  forward: (recording: boolean) => { value: Tensor; saved: Tensor[] };
  /** must return new tensors, never `dy` or a saved one */
  backward: (dy: Tensor, saved: Tensor[]) => Gradients;
}

// TypeScript has this method of tfjs-core 4.22 as private; it is the one that registered kernels and tf.customGrad use.
interface TapeRecorder {
  isTapeOn(): boolean;
  runKernelFunc(call: {
    inputs: NamedTensorMap;
    forwardFunc: (backend: unknown, save: (tensors: Tensor[]) => void) => Tensor;
    backwardsFunc: (dy: Tensor, saved: Tensor[]) => Gradients;
  }): Tensor;
}

/** Runs `forward` off the tape and records the op; intermediate tensors are disposed. */
export function differentiable({ name, inputs, forward, backward }: DifferentiableOp): Tensor {
  const recorder = engine() as unknown as TapeRecorder;
  const recording = recorder.isTapeOn();
  return tidy(name, () =>
    recorder.runKernelFunc({
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

/** Runs a registered kernel for its outputs, as a list. */
export function runKernel(name: string, inputs: NamedTensorMap, attributes: Attributes = {}): Tensor[] {
  const outputs = engine().runKernel<Tensor | Tensor[]>(name, inputs, attributes);
  return Array.isArray(outputs) ? outputs : [outputs];
}

type Attributes = Record<string, number | boolean | string>;
