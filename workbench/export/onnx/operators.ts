// Short names of operators that graphs use often, and functions that are several operators: activations and
// normalizations. The compositions are those that runtimes recognize and fuse.

import { float, type Graph, type Value } from "./graph.ts";

/** The sum of two values, which broadcast. */
export const add = (g: Graph, a: Value, b: Value): Value => g.op("Add", [a, b]);
/** The product of two values entry by entry, which broadcast. */
export const mul = (g: Graph, a: Value, b: Value): Value => g.op("Mul", [a, b]);
/** The matrix product of the last two axes. */
export const matMul = (g: Graph, a: Value, b: Value): Value => g.op("MatMul", [a, b]);
/** @param shape 0 keeps the side of the input, and -1 takes what is left */
export const reshape = (g: Graph, x: Value, shape: readonly number[]): Value => g.op("Reshape", [x, g.ints(shape)]);
/** The value with permuted axes. */
export const transpose = (g: Graph, x: Value, axes: readonly number[]): Value => g.op("Transpose", [x], { perm: axes });
/** Values joined along an axis. */
export const concat = (g: Graph, values: readonly Value[], axis: number): Value => g.op("Concat", values, { axis });
/** Axes of length 1 at these positions of the result. */
export const unsqueeze = (g: Graph, x: Value, axes: readonly number[]): Value => g.op("Unsqueeze", [x, g.ints(axes)]);
/** Parts of these lengths along an axis. */
export const split = (g: Graph, x: Value, { axis, lengths }: { axis: number; lengths: readonly number[] }): Value[] =>
  g.ops("Split", [x, g.ints(lengths)], { axis }, lengths.length);
/** The length of an axis, int64 of rank 0. */
export const lengthOf = (g: Graph, x: Value, axis: number): Value => g.op("Gather", [g.op("Shape", [x]), g.int(axis)]);
/** The mean over axes, which are left out of the result. */
export const mean = (g: Graph, x: Value, axes: readonly number[]): Value =>
  g.op("ReduceMean", [x], { axes, keepdims: 0 });

/** Splits into heads: (batch, tokens, heads · head_dim) → (batch, heads, tokens, head_dim). */
export const inHeads = (g: Graph, x: Value, { heads, headSize }: { heads: number; headSize: number }): Value =>
  transpose(g, reshape(g, x, [0, 0, heads, headSize]), [0, 2, 1, 3]);

/** Activation functions by the names in configs. */
export const ACTIVATIONS = {
  relu: (g: Graph, x: Value): Value => g.op("Relu", [x]),
  tanh: (g: Graph, x: Value): Value => g.op("Tanh", [x]),
  silu: (g: Graph, x: Value): Value => mul(g, x, g.op("Sigmoid", [x])),
  /** x (1 + erf(x / √2)) / 2 */
  gelu(g: Graph, x: Value): Value {
    const erf = g.op("Erf", [g.op("Div", [x, g.number(Math.SQRT2)])]);
    return mul(g, mul(g, x, add(g, erf, g.number(1))), g.number(0.5));
  },
  /** x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2 */
  gelu_tanh(g: Graph, x: Value): Value {
    const cube = mul(g, g.op("Pow", [x, g.number(3)]), g.number(0.044715));
    const tanh = g.op("Tanh", [mul(g, add(g, x, cube), g.number(Math.sqrt(2 / Math.PI)))]);
    return mul(g, mul(g, x, g.number(0.5)), add(g, tanh, g.number(1)));
  },
};

/** A normalization over the last axis with gains and biases. */
export const layerNorm = (
  g: Graph,
  x: Value,
  { gain, bias, epsilon }: { gain: Value; bias: Value; epsilon: number },
): Value => g.op("LayerNormalization", [x, gain, bias], { axis: -1, epsilon: float(epsilon) });

/** x / √(mean of x² + ε), times gains, over the last axis. */
export function rmsNorm(g: Graph, x: Value, { gain, epsilon }: { gain: Value; epsilon: number }): Value {
  const square = g.op("ReduceMean", [g.op("Pow", [x, g.number(2)])], { axes: [-1], keepdims: 1 });
  const root = g.op("Sqrt", [add(g, square, g.number(epsilon))]);
  return mul(g, g.op("Div", [x, root]), gain);
}
