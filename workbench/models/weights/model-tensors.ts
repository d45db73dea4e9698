// The tensors of a file that are its model's: all of them, or those in the dictionary that training scripts keep the model
// in, with the optimizer's and others beside it.

import { unwrapTensors, wrapperOf } from "../../../hub/model-folder/index.ts";
import type { TensorFile } from "../../../hub/safetensors/index.ts";
import { type FoundKind, findKind } from "./kinds.ts";
import { isTorchvisionVit, usualNames } from "./usual-names.ts";

/** What scripts call it, the likeliest first. */
const DICTIONARIES = [
  "model",
  "model_state_dict",
  "model_state",
  "state_dict",
  "net",
  "network",
  "weights",
  "model_ema",
];

export interface ModelTensors {
  kind: FoundKind;
  /** by the names of checkpoints */
  tensors: TensorFile;
  /** what was taken off their names in the file */
  prefix: string;
  /** whether their names were those of a vision transformer of torchvision's */
  isTorchvisionVit: boolean;
}

/** @returns undefined for tensors of no architecture that is known */
export function modelTensors(file: TensorFile): ModelTensors | undefined {
  for (const dictionary of ["", ...DICTIONARIES.map((name) => `${name}.`)]) {
    const own = [...file.tensors].filter(([name]) => name.startsWith(dictionary));
    const inside = own.map(([name, info]) => [name.slice(dictionary.length), info] as const);
    const wrapper = wrapperOf(inside.map(([name]) => name));
    const part: TensorFile = {
      ...file,
      tensors: new Map(inside),
      read: (name) => file.read(dictionary + name),
      chunks: (name) => file.chunks(dictionary + name),
    };
    const unwrapped = unwrapTensors(part);
    const tensors = usualNames(unwrapped);
    const kind = findKind(tensors);
    if (!kind) continue;
    return { kind, tensors, prefix: dictionary + wrapper, isTorchvisionVit: isTorchvisionVit(unwrapped) };
  }
  return undefined;
}
