// Operands for op tests, the comparison with float64 values, and running an op with its gradients while counting
// tensors. The references take the very float32 numbers that the op gets, held as float64.

import { expect } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { ShapeError } from "../../../workbench/engine/core/errors.ts";
import type { Values } from "./grid.ts";

export interface Operand {
  values: Values;
  shape: number[];
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** The same normal numbers for the same seed, rounded to float32. */
export function sample(seed: number, shape: readonly number[], scale = 1): Operand {
  const uniform = uniforms(seed);
  const values = Float64Array.from({ length: sizeOf(shape) }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    return Math.fround(scale * radius * Math.cos(2 * Math.PI * uniform()));
  });
  return { values, shape: [...shape] };
}

/** Whole numbers from 0 to `below` - 1. */
export function sampleIds(seed: number, count: number, below: number): Int32Array {
  const uniform = uniforms(seed);
  return Int32Array.from({ length: count }, () => Math.floor(uniform() * below));
}

// Numbers from 0 to 1 by a linear congruence modulo 2^48, its high bits.
function uniforms(seed: number): () => number {
  let state = (BigInt(seed) << 16n) | 0x330en;
  const next = () => {
    state = (state * 0x5deece66dn + 11n) & 0xffffffffffffn;
    return Number(state) / 2 ** 48;
  };
  next();
  return next;
}

export interface Closeness {
  /** default 1e-5 */
  tolerance?: number;
  /** what the entries are sums of: where they cancel, rounding is as large as these allow */
  terms?: ArrayLike<number>;
}

/** Holds every entry within `tolerance` times the largest one expected, or the largest of `terms`. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { tolerance = 1e-5, terms = [] }: Closeness = {},
): void {
  expect(actual.length).toBe(expected.length);
  let difference = 0;
  for (let i = 0; i < expected.length; i++) {
    const distance = Math.abs((actual[i] as number) - (expected[i] as number));
    // A NaN compares with nothing: make it a difference that does.
    difference = Math.max(difference, Number.isNaN(distance) ? Number.POSITIVE_INFINITY : distance);
  }
  expect(difference).toBeLessThanOrEqual(tolerance * Math.max(largest(expected), largest(terms)));
}

const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

export interface OpRun {
  y: Float32Array;
  shape: number[];
  /** the outer gradient that was used */
  dy: Values;
  gradients: Record<string, Float32Array>;
}

/** Runs `op` and its gradients to every operand, for a random outer gradient; fails when a tensor is left over. */
export async function runOp(
  operands: Record<string, Operand>,
  op: (tensors: Record<string, tf.Tensor>) => tf.Tensor,
): Promise<OpRun> {
  const before = liveTensors();
  const names = Object.keys(operands);
  const inputs = names.map((name) => toTensor(operands[name] as Operand));
  const named = (tensors: tf.Tensor[]) => Object.fromEntries(tensors.map((tensor, i) => [names[i], tensor]));

  const alone = op(named(inputs));
  const outer = sample(names.length + alone.size, alone.shape);
  const dy = toTensor(outer);
  const { value, grads } = tf.valueAndGrads((...tensors: tf.Tensor[]) => op(named(tensors)))(inputs, dy);
  const run: OpRun = { y: await read(alone), shape: alone.shape, dy: outer.values, gradients: {} };
  expectClose(await read(value), run.y, { tolerance: 1e-6 });
  for (const [i, name] of names.entries()) {
    const gradient = grads[i] as tf.Tensor;
    expect(gradient.shape).toEqual((operands[name] as Operand).shape);
    run.gradients[name] = await read(gradient);
  }
  tf.dispose([inputs, alone, dy, value, grads]);
  expect(liveTensors()).toEqual(before);
  return run;
}

/** Tensors and buffers alive now. */
export function liveTensors(): { tensors: number; buffers: number } {
  const { numTensors, numDataBuffers } = tf.memory();
  return { tensors: numTensors, buffers: numDataBuffers };
}

export const toTensor = ({ values, shape }: { values: ArrayLike<number>; shape: number[] }): tf.Tensor =>
  tf.tensor(Float32Array.from(values), shape, "float32");

export const read = async (tensor: tf.Tensor): Promise<Float32Array> => (await tensor.data()) as Float32Array;

/** Holds that `call` throws a ShapeError with just this message, and leaves no tensor. */
export function expectRefusal(call: () => unknown, message: string): void {
  const before = liveTensors();
  let thrown: unknown;
  try {
    tf.tidy(() => void call());
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(ShapeError);
  expect((thrown as ShapeError).message).toBe(message);
  expect(liveTensors()).toEqual(before);
}
