// The tensors of a checkpoint: every parameter of the model and the moments of those that learn, by name. Read from the
// device one at a time as they are written.

import { createHash, type Hash } from "node:crypto";
import { tensor, type Variable } from "@tensorflow/tfjs-core";
import type { TensorFile, TensorSource } from "../../../hub/safetensors/index.ts";
import type { Model } from "../../models/model.ts";
import { RunError } from "../errors.ts";
import type { Optimizer } from "../optimizer.ts";

/** Every variable by its name in the file. */
export function checkpointVariables(model: Model, optimizer: Optimizer): Map<string, Variable> {
  const found = new Map<string, Variable>();
  for (const [name, parameter] of model.parameters) found.set(`parameter/${name}`, parameter);
  for (const { name, moments } of optimizer.learned) {
    found.set(`first/${name}`, moments[0]);
    found.set(`second/${name}`, moments[1]);
  }
  return found;
}

/** Sources for the writer, which takes each once; `digest` is of all bytes in the order in which they were taken. */
export function hashedSources(variables: ReadonlyMap<string, Variable>): {
  sources: TensorSource[];
  digest: () => string;
} {
  const hash = createHash("sha256");
  const sources = Array.from(variables, ([name, variable]): TensorSource => {
    const { shape, dtype } = variable;
    return { name, shape, dtype: dtype === "int32" ? "I32" : "F32", data: () => hashed(variable, hash) };
  });
  return { sources, digest: () => hash.digest("hex") };
}

async function* hashed(variable: Variable, hash: Hash): AsyncGenerator<Uint8Array> {
  const values = await variable.data();
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  hash.update(bytes);
  yield bytes;
}

/** Of the bytes of all tensors in the file's order, which is the order in which they were written. */
export async function digestOf(file: TensorFile): Promise<string> {
  const hash = createHash("sha256");
  for (const name of file.tensors.keys()) for await (const piece of file.chunks(name)) hash.update(piece);
  return hash.digest("hex");
}

/** @throws RunError where the file does not hold exactly these variables; none is changed then */
export async function assignAll(
  file: TensorFile,
  variables: ReadonlyMap<string, Variable>,
  path: string,
): Promise<void> {
  for (const [name, { shape, dtype }] of variables) {
    const info = file.tensors.get(name);
    const fits = info?.shape.join() === shape.join() && info?.dtype === (dtype === "int32" ? "I32" : "F32");
    if (!fits) throw new RunError(`${path}: "${name}" is not there as ${dtype} (${shape.join(", ")}); start anew`);
  }
  for (const [name, variable] of variables) {
    const { data, shape } = await file.read(name);
    const values = tensor(data as Float32Array | Int32Array, [...shape], variable.dtype as "float32" | "int32");
    variable.assign(values);
    values.dispose();
  }
}
