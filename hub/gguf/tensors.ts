// Reads the tensors of a model from a GGUF file as they are written to the model folder: dequantized, in the order of
// rows that transformers has, in the wanted type. Values are read in chunks of rows; only a transposed matrix is in
// memory as a whole.

import { fromFloat32, type TensorSource } from "../safetensors/index.ts";
import { dequantize, isQuantized } from "./dequantize.ts";
import type { ModelTensor } from "./family.ts";
import type { GgufFile, GgufTensor } from "./header.ts";
import { GgufError } from "./types.ts";

/** Types in which weights are written. */
export type WrittenDtype = "F32" | "F16" | "BF16";

/** Number of values that are read at a time; at least one row is. */
const CHUNK_VALUES = 2 ** 20;

/**
 * The tensors of a model, to be written.
 * @param dtype type of all tensors. Default: float32 if any tensor is quantized, else each tensor's own
 */
export function tensorSources(
  gguf: GgufFile,
  tensors: readonly ModelTensor[],
  dtype: WrittenDtype | undefined,
): TensorSource[] {
  const common = dtype ?? (Array.from(gguf.tensors.values()).some(({ type }) => isQuantized(type)) ? "F32" : undefined);
  return tensors.map((tensor) => {
    const stored = gguf.tensors.get(tensor.stored) as GgufTensor;
    const to = common ?? (stored.type.name as WrittenDtype);
    return {
      name: tensor.name,
      dtype: to,
      shape: tensor.shape,
      data: () => chunksOf(gguf.file, { tensor, stored, to }),
    };
  });
}

/** A tensor of the model, where it is stored, and the type to write it in. */
interface Copied {
  tensor: ModelTensor;
  stored: GgufTensor;
  to: WrittenDtype;
}

async function* chunksOf(file: string, copied: Copied): AsyncGenerator<Uint8Array> {
  const { stored, tensor } = copied;
  const order = tensor.order;
  if (order.kind === "transposed") {
    const values = dequantize(await stored.source.read(stored.start, stored.byteLength), stored.type);
    yield encoded(file, copied, transposed(values, stored.shape as [number, number]));
    return;
  }
  const rows = stored.shape.length === 1 ? 1 : (stored.shape[0] as number);
  const rowBytes = stored.byteLength / rows;
  const rowValues = (rowBytes / stored.type.bytes) * stored.type.values;
  const heads = order.kind === "same" ? 1 : order.heads;
  // The elements of a bias are the rows of its heads.
  const head = rows === 1 ? { dim: rowValues / heads, width: 1 } : { dim: rows / heads, width: rowValues };
  // The rows of one head must be in the same chunk.
  const unit = order.kind === "same" || rows === 1 ? 1 : head.dim;
  const step = unit * Math.max(1, Math.floor(CHUNK_VALUES / (unit * rowValues)));
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row);
    const bytes = await stored.source.read(stored.start + row * rowBytes, count * rowBytes);
    // Values that stay in their type are copied, NaN's bits included.
    if (stored.type.name === copied.to && order.kind === "same") {
      yield bytes;
      continue;
    }
    const values = dequantize(bytes, stored.type);
    yield encoded(file, copied, order.kind === "same" ? values : separated(values, head));
  }
}

/**
 * Undoes the interleaving of heads: rows 0, 2, 4 … of a head become its first half, rows 1, 3, 5 … its second.
 * @param values of whole heads
 * @param head number of its rows (`dim`), and of the values in a row (`width`)
 */
function separated(values: Float32Array, { dim, width }: { dim: number; width: number }): Float32Array {
  const heads = values.length / dim / width;
  const result = new Float32Array(values.length);
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < dim; row++) {
      const from = (head * dim + row) * width;
      const to = (head * dim + (row >> 1) + (row & 1) * (dim / 2)) * width;
      result.set(values.subarray(from, from + width), to);
    }
  }
  return result;
}

function transposed(values: Float32Array, [rows, columns]: readonly [number, number]): Float32Array {
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[column * rows + row] = values[row * columns + column] as number;
    }
  }
  return result;
}

/** The smallest number that is rounded to infinity in float16, whose largest finite number is 65 504. */
const OVERFLOW_F16 = 65_520;

function encoded(file: string, { tensor, to }: Copied, values: Float32Array): Uint8Array {
  if (to === "F16") {
    const over = values.find((value) => Math.abs(value) >= OVERFLOW_F16 && Number.isFinite(value));
    if (over !== undefined) {
      const problem = `has the value ${over}, too large for float16; use bf16 or f32 as --dtype`;
      throw new GgufError(problem, { file, tensor: tensor.stored });
    }
  }
  const { data } = fromFloat32(values, { dtype: to, shape: [values.length] });
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
