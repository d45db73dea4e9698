// Kernels that change a tensor in place: the AdamW step, with the addon's operators for all parameters of a group in
// one call, the norm of gradients that goes with it, rows written into a buffer, and weights that are filled when they
// are loaded. A change in place is only safe where no other tensor shares the memory, so a variable that shares it gets
// memory of its own first.

import type { TensorInfo, Variable } from "@tensorflow/tfjs-core";
import * as names from "../../../ops/kernels.ts";
import { tensorOf } from "../../../tfjs/internals.ts";
import { aten, CONTIGUOUS_FORMAT, dataOf, forgetCopy, halfHandleOf, handleOf, keepOne, STRIDED } from "../aten.ts";
import { currentAddon, type TorchBackend } from "../backend.ts";
import { fusedKernel, type KernelTable } from "../register.ts";
import { sameData } from "./creation.ts";

const clone = aten("clone");
const adamwInPlace = aten("adamw_", "", "gblr");
const gradientNorm = aten("gradient_norm", "", "gblr");
const narrow = aten("narrow");
const copyInPlace = aten("copy_");
const indexCopy = aten("index_copy_");
const toType = aten("to", "dtype");
const empty = aten("empty", "memory_format");

/** Gives a variable contiguous memory that no other tensor shares. */
function moveToOwnMemory(variable: Variable, backend: TorchBackend): void {
  const copy = keepOne(() => clone(variable, CONTIGUOUS_FORMAT));
  const tensor = tensorOf(backend.adopt(copy));
  variable.assign(tensor);
  tensor.dispose();
}

/** Data ids of variables whose memory was allocated here, and is contiguous as the addon's operator requires. */
const contiguous = new WeakSet<object>();

/** Makes a variable safe for the addon's operator: contiguous and without shared memory. */
function prepare(variable: Variable, backend: TorchBackend): void {
  if (contiguous.has(variable.dataId) && !backend.isShared(variable)) return;
  moveToOwnMemory(variable, backend);
  contiguous.add(variable.dataId);
}

export const fusedInPlace: KernelTable = {
  [names.GRADIENT_NORM]: fusedKernel<readonly TensorInfo[]>((gradients) => gradientNorm(gradients)),

  [names.ADAMW]: fusedKernel<readonly TensorInfo[], names.AdamwAttributes>((operands, attributes, backend) => {
    const { count, step, learningRate, beta1, beta2, epsilon, weightDecay } = attributes;
    const lists = [0, 1, 2, 3].map((at) => operands.slice(at * count, (at + 1) * count));
    const [parameters, gradients, first, second] = lists as [Variable[], TensorInfo[], Variable[], Variable[]];
    for (const variable of [...parameters, ...first, ...second]) prepare(variable, backend);
    for (const variable of parameters) forgetCopy(variable);
    const scale = operands[4 * count] ?? null;
    const settings = [learningRate, beta1, beta2, epsilon, weightDecay, step] as const;
    adamwInPlace(parameters, gradients, first, second, ...settings, scale);
    return [];
  }),

  [names.WRITE_ROWS]: fusedKernel<names.WriteRowsInputs, names.WriteRowsAttributes>(
    ({ buffer, rows }, { at }, backend) => {
      if (backend.isShared(buffer)) moveToOwnMemory(buffer as TensorInfo as Variable, backend);
      forgetCopy(buffer);
      const axis = buffer.shape.length - 2;
      copyInPlace(narrow(buffer, axis, at, rows.shape[axis] as number), rows);
      return [];
    },
  ),

  [names.SCATTER_ROWS]: fusedKernel<names.ScatterRowsInputs>(({ buffer, rows, ids }, _, backend) => {
    if (backend.isShared(buffer)) moveToOwnMemory(buffer as TensorInfo as Variable, backend);
    forgetCopy(buffer);
    indexCopy(buffer, 0, toType(ids, "int64"), rows);
    return [];
  }),

  [names.ALLOCATE]: fusedKernel<object, names.AllocateAttributes>((_, { shape, held }, backend) => {
    const tensor = backend.adopt(keepOne(() => empty(shape, held, STRIDED, backend.device)));
    if (held !== "float32") dataOf(tensor.dataId).half = true;
    return tensor;
  }),

  [names.TO_FLOAT32]: fusedKernel<names.ToFloat32Inputs>(({ x }, _, backend) =>
    halfHandleOf(x) === undefined ? sameData(x, x.shape, backend) : handleOf(x),
  ),

  [names.RELEASE_MEMORY]: () => {
    currentAddon().releaseCache();
    return [];
  },

  [names.WRITE_VALUES]: fusedKernel<names.WriteValuesInputs, names.WriteValuesAttributes>(
    ({ buffer }, { at, bytes, type }) => {
      forgetCopy(buffer);
      currentAddon().writeValues(dataOf(buffer.dataId).handle, at, bytes, type);
      return [];
    },
  ),
};
