// What all kinds of stored layers share: the layer itself, its place in an open file, and checks of its tensors' types and
// shapes (docs/format.md). No values are read here.

import { FileError } from "../files/file-error.ts";
import type { TensorFile, TensorInfo } from "../safetensors/index.ts";

/** A model that is not there, is no model, or contradicts itself. */
export class ModelError extends FileError {
  override readonly name = "ModelError";
}

/** W (n_out, n_in); convolutions have n_in = rows · columns · channels. */
export interface Layer {
  name: string;
  nIn: number;
  nOut: number;
  /** as structures.ts names it */
  structure: string;
  /** whether config.json names the structure; if not it is the one that such tensors are most likely of */
  isNamed: boolean;
  /** of its parameters, by name */
  shapes: Readonly<Record<string, readonly number[]>>;
  /** what the file may hold beside the parameters and the bias, and what says nothing more */
  buffers: readonly string[];
  /** what config.json says of a convolution: rows and columns; a linear layer has neither of the two */
  kernel?: readonly [number, number];
  /** it matters to what parameters cost */
  stride?: number;
  /**
   * Reads what products would follow as indices, and holds it to the rules. Factors and values, which may be any numbers,
   * are not read. What has been read is not read again.
   * @throws ModelError
   */
  check(): Promise<void>;
}

/** One layer in an open file. */
export interface LayerPlace {
  layer: string;
  file: string;
  tensors: TensorFile;
}

interface Expected {
  /** numbers must be met, names stand for any length */
  shape: readonly (number | string)[];
  /** only this type; default any type of real numbers */
  dtype?: TensorInfo["dtype"];
  /** where the numbers come from, for the error */
  why?: string;
}

const REAL = new Set(["F64", "F32", "F16", "BF16"]);
const QUANTIZED = new Set(["F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ"]);

/** Whether it can be a weight: of real numbers, also of those whose values are not read here but which cost the same. */
export const isWeight = ({ dtype }: TensorInfo): boolean => REAL.has(dtype) || QUANTIZED.has(dtype);

/** @throws ModelError such as `layer "fc1": widths must be (2, 48), is F32 (2, 40)` */
export function expectTensor(place: LayerPlace, part: string, { shape, dtype, why = "" }: Expected): readonly number[] {
  const info = place.tensors.tensors.get(`${place.layer}.${part}`);
  const wanted = `${dtype ? `${dtype} ` : ""}(${shape.join(", ")})`;
  if (!info) throw problemOf(place, `${part} ${wanted} is missing`);
  const fits =
    info.shape.length === shape.length &&
    shape.every((length, axis) => typeof length === "string" || length === info.shape[axis]) &&
    (dtype === undefined ? REAL.has(info.dtype) : info.dtype === dtype);
  if (!fits) throw problemOf(place, `${part} must be ${wanted}${why}, is ${info.dtype} (${info.shape.join(", ")})`);
  return info.shape;
}

/** @throws ModelError when there is a bias and it does not fit */
export function expectBias(place: LayerPlace, nOut: number): void {
  if (place.tensors.tensors.has(`${place.layer}.bias`)) expectTensor(place, "bias", { shape: [nOut] });
}

/** Reads on the first call; the same values, or the same error, come again after it. */
export function onlyOnce<T>(read: () => Promise<T>): () => Promise<T> {
  let found: Promise<T> | undefined;
  return () => {
    found ??= read();
    return found;
  };
}

export function problemOf({ file, layer }: LayerPlace, problem: string): ModelError {
  return new ModelError(problem, { file, layer });
}

/** What config.json says of a layer's convolution. */
export const geometryOf = ({ kernel, stride }: Pick<Layer, "kernel" | "stride"> = {}) => ({
  ...(kernel && { kernel }),
  ...(stride !== undefined && { stride }),
});
