// Reads the values of parameters from a file straight into the engine, a few megabytes at a time. Loading therefore
// needs little memory beyond that of the model: one chunk on engines whose tensors can be filled, and the largest tensor
// on others.

import { getBackend, tensor, tidy, transpose, type Variable } from "@tensorflow/tfjs-core";
import { CHUNK_BYTES } from "../../../hub/files/byte-source.ts";
import { DTYPES, type TensorFile, toFloat32, viewTensor } from "../../../hub/safetensors/index.ts";
import { EngineError } from "../../engine/core/errors.ts";
import { allocate, canFill, fill, type HeldType } from "../../engine/ops/index.ts";
import { rowByRow, variableFrom, variableOf } from "../variables.ts";
import type { StoredParameter } from "./stored-parameters.ts";

/** Number types of weights in memory. `auto`: that of the file, where the engine can hold it. */
export const WEIGHT_TYPES = ["float32", "bfloat16", "float16", "auto"] as const;
/** Number type of weights in memory. */
export type WeightType = (typeof WEIGHT_TYPES)[number];

/** The real types of files, by the engine's names. */
const REAL_TYPES = { F64: "float64", F32: "float32", F16: "float16", BF16: "bfloat16" } as const;
type RealType = keyof typeof REAL_TYPES;

/**
 * Checks that the current engine can hold weights in this type.
 * @throws EngineError when it cannot
 */
export function expectWeightType(type: WeightType): void {
  if (type === "float32" || type === "auto" || canFill()) return;
  throw new EngineError(
    `weights cannot be "${type}" on engine "${getBackend()}", which holds them in float32`,
    "use --dtype float32, or engine torch",
  );
}

/** Reads parameters of one file. */
export class ParameterReader {
  private readonly file: TensorFile;
  private readonly type: WeightType;
  private readonly buffer = new Uint8Array(CHUNK_BYTES);
  private staged = new Float32Array(0);

  /** @param type number type of the weights that may be held in half precision, see `StoredParameter` */
  constructor(file: TensorFile, type: WeightType) {
    [this.file, this.type] = [file, type];
  }

  /** Reads one parameter as a variable. */
  async variable(parameter: StoredParameter): Promise<Variable> {
    const { stored, shape, dtype, trainable, kernel } = parameter;
    if (dtype === "int32") {
      return variableFrom((await this.file.read(stored)).data as Int32Array, shape, { trainable });
    }
    if (kernel) {
      const [rows, columns, nIn, nOut] = shape as [number, number, number, number];
      const held = await this.tensor({ ...parameter, shape: [nOut, nIn, rows, columns] }, "float32");
      const turned = tidy(() => transpose(held, [2, 3, 1, 0]));
      held.dispose();
      return variableOf(rowByRow(turned), { trainable });
    }
    const held = this.heldAs(parameter);
    // A weight in half precision cannot be trained, because small updates would be rounded away.
    return variableOf(await this.tensor(parameter, held), { trainable: trainable && held === "float32" });
  }

  private typeOf({ stored }: StoredParameter): RealType {
    return this.file.tensors.get(stored)?.dtype as RealType;
  }

  private heldAs(parameter: StoredParameter): HeldType {
    if (!parameter.mayBeHalf || this.type === "float32" || !canFill()) return "float32";
    if (this.type !== "auto") return this.type;
    const own = REAL_TYPES[this.typeOf(parameter)];
    return own === "float16" || own === "bfloat16" ? own : "float32";
  }

  private async tensor(parameter: StoredParameter, held: HeldType) {
    const { shape } = parameter;
    const dtype = this.typeOf(parameter);
    if (canFill()) {
      const made = allocate(shape, held);
      try {
        for await (const { at, bytes } of this.values(parameter)) fill(made, { at, bytes, type: REAL_TYPES[dtype] });
        return made;
      } catch (error) {
        made.dispose();
        throw error;
      }
    }
    const values = this.memoryFor(shape.reduce((product, side) => product * side, 1));
    for await (const { at, bytes } of this.values(parameter)) {
      toFloat32(viewTensor({ dtype, shape: [] }, bytes), values.subarray(at));
    }
    return tensor(values, [...shape], "float32");
  }

  /** Host memory for values. wasm copies them at once, so the same memory serves all tensors. */
  private memoryFor(size: number): Float32Array {
    if (getBackend() !== "wasm") return new Float32Array(size);
    if (this.staged.length < size) this.staged = new Float32Array(size);
    return this.staged.subarray(0, size);
  }

  /** The bytes of a parameter in chunks of whole, aligned values; `at` is the index of a chunk's first value. */
  private async *values(parameter: StoredParameter): AsyncGenerator<{ at: number; bytes: Uint8Array<ArrayBuffer> }> {
    const { stored, shape, part } = parameter;
    const width = DTYPES[this.typeOf(parameter)].bytes;
    const start = (part?.first ?? 0) * width;
    const length = shape.reduce((product, side) => product * side, width);
    let at = 0;
    let rest = new Uint8Array(0);
    const range = { start, end: start + length };
    for await (const chunk of this.file.chunks(stored, { range, buffer: this.buffer })) {
      const isAligned = rest.byteLength === 0 && chunk.byteOffset % width === 0 && chunk.byteLength % width === 0;
      const bytes = isAligned ? (chunk as Uint8Array<ArrayBuffer>) : joined(rest, chunk);
      const whole = bytes.byteLength - (bytes.byteLength % width);
      rest = bytes.slice(whole);
      yield { at, bytes: bytes.subarray(0, whole) };
      at += whole / width;
    }
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(first.byteLength + second.byteLength);
  all.set(first);
  all.set(second, first.byteLength);
  return all;
}
