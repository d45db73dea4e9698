// The tensors of one layer, found by name and held to a shape. No values are read here.

import type { TensorFile, TensorInfo } from "../safetensors/index.ts";
import { ModelError } from "./errors.ts";

/** One layer in an open file. */
export interface LayerPlace {
  layer: string;
  file: string;
  tensors: TensorFile;
}

export interface Expected {
  /** numbers must be met, names stand for any length */
  shape: readonly (number | string)[];
  /** only this type; default any type of real numbers */
  dtype?: TensorInfo["dtype"];
  /** where the numbers come from, for the error */
  why?: string;
}

const REAL = new Set(["F64", "F32", "F16", "BF16"]);

export function isReal({ dtype }: TensorInfo): boolean {
  return REAL.has(dtype);
}

const QUANTIZED = new Set(["F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ"]);

/** Whether it can be a weight: of real numbers, also of those whose values are not read here but which cost the same. */
export const isWeight = (info: TensorInfo): boolean => isReal(info) || QUANTIZED.has(info.dtype);

/** @throws ModelError such as `layer "fc1": widths must be (2, 48), is F32 (2, 40)` */
export function expectTensor(place: LayerPlace, part: string, { shape, dtype, why = "" }: Expected): readonly number[] {
  const info = place.tensors.tensors.get(`${place.layer}.${part}`);
  const wanted = `${dtype ? `${dtype} ` : ""}(${shape.join(", ")})`;
  if (!info) throw problemOf(place, `${part} ${wanted} is missing`);
  const fits =
    info.shape.length === shape.length &&
    shape.every((length, axis) => typeof length === "string" || length === info.shape[axis]) &&
    (dtype === undefined ? isReal(info) : info.dtype === dtype);
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
