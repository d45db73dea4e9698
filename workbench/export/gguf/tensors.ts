// The tensors of a GGUF file from those of a model. A layer is written as the matrix that it applies, which is computed
// when it is written, so that one matrix at a time is in memory.

import { clone, reshape, type Tensor, tidy, transpose } from "@tensorflow/tfjs-core";
import type { ModelTensor, Order } from "../../../hub/gguf/family.ts";
import { GgufError } from "../../../hub/gguf/types.ts";
import type { WrittenTensor } from "../../../hub/gguf/write.ts";
import { fromFloat32 } from "../../../hub/safetensors/index.ts";
import { namesOf } from "../../architectures/architecture.ts";
import { heldInFloat32 } from "../../engine/ops/index.ts";
import { bytesOf } from "../../models/folder/tensor-sources.ts";
import { denseWeight, FILE_TYPES, type FileType, type Model } from "../../models/index.ts";
import { ALWAYS_F32, type GgufPlan } from "./plan.ts";

/**
 * The tensors to write. Vectors are float32, as llama.cpp needs them.
 * @param dtype type of matrices
 * @param file for errors
 */
export function writtenTensors<Config>(
  model: Model<Config>,
  { tensors, prefix, others = [] }: GgufPlan,
  { dtype, file }: { dtype: FileType; file: string },
): WrittenTensor[] {
  const { parameterName } = namesOf(model.architecture);
  const written = tensors.map(({ stored, name, shape, order }: ModelTensor): WrittenTensor => {
    const parameter = parameterName(name, prefix);
    const type = shape.length === 1 || ALWAYS_F32.has(stored) ? "F32" : FILE_TYPES[dtype];
    const layout = order.kind === "transposed" ? [...shape].reverse() : shape;
    const data = () => bytesIn(type, () => valuesOf(model, parameter, order), { file, tensor: stored });
    return { name: stored, type, shape: layout, data };
  });
  return [...written, ...others];
}

/** A parameter, or the matrix (n_out, n_in) of a layer, in the order of rows of the file. The caller disposes of it. */
function valuesOf<Config>(model: Model<Config>, parameter: string, order: Order): Tensor {
  const layer = parameter.replace(/\.weight$/, "");
  return tidy(() => {
    const values: Tensor = model.layers.has(layer)
      ? denseWeight(model, layer)
      : heldInFloat32(model.parameter(parameter) as Tensor);
    return order.kind === "interleaved heads" ? interleaved(values, order.heads) : clone(values);
  });
}

/** Rows of the first half and of the second half of each head alternate, which llama.cpp's rotary positions need. */
function interleaved(values: Tensor, heads: number): Tensor {
  const [rows = 0] = values.shape;
  const halves = reshape(values, [heads, 2, rows / heads / 2, values.size / rows]);
  return reshape(transpose(halves, [0, 2, 1, 3]), values.shape);
}

/** The smallest number that is rounded to infinity in float16, whose largest finite number is 65 504. */
const OVERFLOW_F16 = 65_520;

async function* bytesIn(
  type: WrittenTensor["type"],
  make: () => Tensor,
  place: { file: string; tensor: string },
): AsyncGenerator<Uint8Array> {
  const tensor = make();
  try {
    for await (const piece of bytesOf(tensor)) {
      yield type === "F32" ? piece : encoded(piece, type, place);
    }
  } finally {
    tensor.dispose();
  }
}

function encoded(
  { buffer, byteOffset, byteLength }: Uint8Array,
  dtype: "F16" | "BF16",
  place: { file: string; tensor: string },
): Uint8Array {
  const values = new Float32Array(buffer as ArrayBuffer, byteOffset, byteLength / Float32Array.BYTES_PER_ELEMENT);
  const over = dtype === "F16" && values.find((value) => Math.abs(value) >= OVERFLOW_F16 && Number.isFinite(value));
  if (typeof over === "number") {
    throw new GgufError(`has the value ${over}, too large for float16; use --dtype bfloat16 or float32`, place);
  }
  const { data } = fromFloat32(values, { dtype, shape: [values.length] });
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
