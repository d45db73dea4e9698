// Tensors of the engine as sources for files. Their bytes are read some rows at a time when a file is written.

import { slice, type Tensor, transpose } from "@tensorflow/tfjs-core";
import type { TensorSource } from "../../../hub/safetensors/index.ts";

/** A tensor to write, of which some rows are read at a time. */
export function sourceOf(name: string, variable: Tensor): TensorSource {
  const dtype = variable.dtype === "int32" ? "I32" : "F32";
  return { name, dtype, shape: variable.shape, data: () => bytesOf(variable) };
}

/** A tensor to write with permuted axes. */
export function turnedSource(name: string, variable: Tensor, axes: number[]): TensorSource {
  const shape = axes.map((axis) => variable.shape[axis] as number);
  return { name, dtype: "F32", shape, data: () => turnedBytes(variable, axes) };
}

async function* turnedBytes(variable: Tensor, axes: number[]): AsyncGenerator<Uint8Array> {
  const turned = transpose(variable, axes);
  try {
    yield* bytesOf(turned);
  } finally {
    turned.dispose();
  }
}

/** Values that are read from the engine at a time. */
const PIECE = 1 << 22;

/** The bytes of tensors, some rows at a time, so that no second copy of a large tensor is in memory. */
export async function* bytesOf(...tensors: Tensor[]): AsyncGenerator<Uint8Array> {
  for (const tensor of tensors) {
    const [rows = 1, ...rest] = tensor.shape;
    const width = rest.reduce((product, side) => product * side, 1);
    const count = Math.max(1, Math.floor(PIECE / Math.max(1, width)));
    if (count >= rows) yield await bytesNow(tensor);
    else {
      for (let first = 0; first < rows; first += count) {
        const piece = slice(tensor, [first, ...rest.map(() => 0)], [Math.min(count, rows - first), ...rest]);
        yield await bytesNow(piece);
        piece.dispose();
      }
    }
  }
}

async function bytesNow(tensor: Tensor): Promise<Uint8Array> {
  const { buffer, byteOffset, byteLength } = await tensor.data();
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}
