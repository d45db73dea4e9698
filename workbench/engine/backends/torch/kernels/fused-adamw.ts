// The optimizer step over the addon's own operators: all of a group's parameters in one call, in place.
// In place is only safe where nothing else looks at the memory: a variable that shares it gets memory of its own first.

import { engine, type TensorInfo, type Variable } from "@tensorflow/tfjs-core";
import * as names from "../../../ops/kernels.ts";
import { aten, keepOne } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import type { KernelTable } from "../register.ts";
import { fusedKernel } from "./fused-kernel.ts";

const clone = aten("clone");
const adamwInPlace = aten("adamw_", "", "gblr");
const gradientNorm = aten("gradient_norm", "", "gblr");

const CONTIGUOUS_FORMAT = 0; // c10::MemoryFormat

/** Data ids whose memory was laid out here: contiguous, as the operator needs it. */
const laidOut = new WeakSet<object>();

function ownMemory(variable: Variable, backend: TorchBackend): void {
  if (laidOut.has(variable.dataId) && !backend.isShared(variable)) return;
  const copy = keepOne(() => clone(variable, CONTIGUOUS_FORMAT));
  const tensor = engine().makeTensorFromTensorInfo(backend.adopt(copy));
  variable.assign(tensor);
  tensor.dispose();
  laidOut.add(variable.dataId);
}

export const fusedAdamw: KernelTable = {
  [names.GRADIENT_NORM]: fusedKernel<readonly TensorInfo[]>((gradients) => gradientNorm(gradients)),

  [names.ADAMW]: fusedKernel<readonly TensorInfo[], names.AdamwAttributes>((operands, attributes, backend) => {
    const { count, step, learningRate, beta1, beta2, epsilon, weightDecay } = attributes;
    const lists = [0, 1, 2, 3].map((at) => operands.slice(at * count, (at + 1) * count));
    const [parameters, gradients, first, second] = lists as [Variable[], TensorInfo[], Variable[], Variable[]];
    for (const variable of [...parameters, ...first, ...second]) ownMemory(variable, backend);
    const scale = operands[4 * count] ?? null;
    const settings = [learningRate, beta1, beta2, epsilon, weightDecay, step] as const;
    adamwInPlace(parameters, gradients, first, second, ...settings, scale);
    return [];
  }),
};
