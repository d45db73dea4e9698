// Tensors that are filled piece by piece, in float32 or in half precision. A tensor held in half precision is a float32
// tensor for TensorFlow.js. Operations convert it to float32 when they use it, so that results are those of float32
// arithmetic on the rounded values. Only the torch backend has such tensors.

import { clone, getBackend, getKernel, type Tensor } from "@tensorflow/tfjs-core";
import { EngineError, ShapeError } from "../core/errors.ts";
import {
  ALLOCATE,
  type HeldType,
  RELEASE_MEMORY,
  TO_FLOAT32,
  WRITE_VALUES,
  type WriteValuesAttributes,
} from "./kernels.ts";
import { runKernel } from "./op.ts";

/** Whether the current engine can fill tensors piece by piece and hold them in half precision. */
export const canFill = (): boolean => getKernel(ALLOCATE, getBackend()) !== undefined;

/**
 * Creates a tensor whose values are not set yet; `fill` sets them. Memory is used only for values that are set.
 * @param held number type in memory
 * @returns float32 of this shape
 * @throws EngineError when the engine cannot fill tensors, see `canFill`
 */
export function allocate(shape: readonly number[], held: HeldType): Tensor {
  if (!canFill()) {
    throw new EngineError(`engine "${getBackend()}" holds tensors in float32 only`, "create it from its values");
  }
  return runKernel(ALLOCATE, {}, { shape, held })[0] as Tensor;
}

/**
 * Sets values of a tensor that `allocate` has created, and rounds them to its number type.
 * @param options.at index of the first value
 * @param options.bytes values of the type `type`, aligned to their size
 * @throws ShapeError when they are more than the tensor has
 */
export function fill(tensor: Tensor, { at, bytes, type }: WriteValuesAttributes): void {
  const count = bytes.byteLength / BYTES[type];
  if (!Number.isInteger(count) || at < 0 || at + count > tensor.size) {
    throw new ShapeError(`fill: values ${at} to ${at + count} do not lie in a tensor of ${tensor.size}`);
  }
  runKernel(WRITE_VALUES, { buffer: tensor }, { at, bytes, type });
}

/**
 * The tensor held in float32, for a weight that several operations use one after the other.
 * @returns a new tensor, which shares memory with the given one unless that is held in half precision
 */
export function heldInFloat32<T extends Tensor>(x: T): T {
  return (getKernel(TO_FLOAT32, getBackend()) ? (runKernel(TO_FLOAT32, { x })[0] as Tensor) : clone(x)) as T;
}

/**
 * Gives memory that the engine keeps for reuse back to the system. It is called after large tensors were disposed of,
 * whose sizes are not needed again.
 */
export function releaseMemory(): void {
  if (getKernel(RELEASE_MEMORY, getBackend())) runKernel(RELEASE_MEMORY, {});
}

const BYTES = { float64: 8, float32: 4, bfloat16: 2, float16: 2 };
