// Types and checks that all stored layers share: the description of a layer, its place in an open file, and checks of
// the types and shapes of its tensors (docs/format.md). No values are read here.

import { FileError } from "../files/file-error.ts";
import type { TensorFile, TensorInfo } from "../safetensors/index.ts";

/** A model does not exist, is invalid, or contradicts itself. */
export class ModelError extends FileError {
  override readonly name = "ModelError";
}

/** A stored layer, W (n_out, n_in). For convolutions n_in = rows · columns · channels. */
export interface Layer {
  name: string;
  nIn: number;
  nOut: number;
  /** name of the structure, see structures.ts */
  structure: string;
  /** whether config.json names the structure; if not, it is derived from the tensors' names */
  isNamed: boolean;
  /** shapes of its parameters, by name */
  shapes: Readonly<Record<string, readonly number[]>>;
  /** names of further tensors that the file may have; they contain no additional information */
  buffers: readonly string[];
  /** rows and columns of a convolution's kernel, from config.json */
  kernel?: readonly [number, number];
  /** stride of a convolution, from config.json; the cost can depend on it */
  stride?: number;
  /**
   * Reads and checks the values that products use as indices. Factors and values can be any numbers and are not read.
   * Values are read once only.
   * @throws ModelError
   */
  check(): Promise<void>;
  /** Reads the values of a parameter, for structures whose cost depends on them. GBLR layers have readers of their own */
  readPart?(part: string): Promise<Float32Array>;
}

/** One layer in an open file. */
export interface LayerPlace {
  layer: string;
  file: string;
  tensors: TensorFile;
}

interface Expected {
  /** numbers are required, names stand for any length */
  shape: readonly (number | string)[];
  /** allowed types. Default any floating-point type */
  dtypes?: readonly TensorInfo["dtype"][] | undefined;
  /** reason for the shape, in errors */
  why?: string;
}

const REAL = new Set(["F64", "F32", "F16", "BF16"]);
const QUANTIZED = new Set(["F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ"]);

/** Whether a tensor can be a weight: floating-point, including 8-bit types whose values this package does not read. */
export const isWeight = ({ dtype }: TensorInfo): boolean => REAL.has(dtype) || QUANTIZED.has(dtype);

/**
 * Checks shape and type of a tensor, and returns its shape.
 * @throws ModelError such as `layer "fc1": widths must be (2, 48), is F32 (2, 40)`
 */
export function expectTensor(
  place: LayerPlace,
  part: string,
  { shape, dtypes, why = "" }: Expected,
): readonly number[] {
  const info = place.tensors.tensors.get(`${place.layer}.${part}`);
  const wanted = `${dtypes ? `${dtypes.join(" or ")} ` : ""}(${shape.join(", ")})`;
  if (!info) throw problemOf(place, `${part} ${wanted} is missing`);
  const fits =
    info.shape.length === shape.length &&
    shape.every((length, axis) => typeof length === "string" || length === info.shape[axis]) &&
    (dtypes === undefined ? REAL.has(info.dtype) : dtypes.includes(info.dtype));
  if (!fits) throw problemOf(place, `${part} must be ${wanted}${why}, is ${info.dtype} (${info.shape.join(", ")})`);
  return info.shape;
}

/** @throws ModelError when there is a bias of another shape */
export function expectBias(place: LayerPlace, nOut: number): void {
  if (place.tensors.tensors.has(`${place.layer}.bias`)) expectTensor(place, "bias", { shape: [nOut] });
}

/** Calls `read` once; later calls give the same result or error. */
export function onlyOnce<T>(read: () => Promise<T>): () => Promise<T> {
  let found: Promise<T> | undefined;
  return () => {
    found ??= read();
    return found;
  };
}

/** Makes the error for a layer. */
export function problemOf({ file, layer }: LayerPlace, problem: string): ModelError {
  return new ModelError(problem, { file, layer });
}

/** Kernel and stride of a layer's settings, if it is a convolution. */
export const geometryOf = ({ kernel, stride }: Pick<Layer, "kernel" | "stride"> = {}) => ({
  ...(kernel && { kernel }),
  ...(stride !== undefined && { stride }),
});
