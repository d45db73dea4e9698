// Matrix products for the wasm engine. TensorFlow.js's WebAssembly backend has a fast product (XNNPACK's) for two plain
// matrices only. When a matrix is transposed or stacked it runs a loop that is ten to forty times slower, and every
// backward pass and every attention consists of such products. Here operands are transposed first, and stacks are
// multiplied matrix by matrix. For two plain matrices the fused product is the backend's own kernel with bias and
// activation. Otherwise the product, the bias and the activation are computed one after the other.

import * as tf from "@tensorflow/tfjs-core";
import { type KernelCall, type KernelResult, type OwnKernel, ownKernel, wrapKernel } from "../../tfjs/registry.ts";
import { floats, rawFunction, type WasmBackend, withPart } from "../../tfjs/wasm.ts";

/** Multiply-adds of one product in a stack. Below this number the backend's loop is faster than a call of XNNPACK. */
const SMALL_PRODUCT = 4096;

/** Wraps the backend's own kernels for matrix products. */
export function registerProducts(): void {
  wrapKernel(tf.BatchMatMul, "wasm", multiply);
  wrapKernel(tf._FusedMatMul, "wasm", multiplyFused);
}

interface ProductInputs {
  a: tf.Tensor;
  b: tf.Tensor;
}

interface ProductAttributes {
  transposeA: boolean;
  transposeB: boolean;
}

type ProductCall = KernelCall<ProductInputs, ProductAttributes | undefined>;

interface Product {
  /** (stack..., rows, inner), or (stack..., inner, rows) when transposed */
  a: tf.TensorInfo;
  /** (stack..., inner, columns), or (stack..., columns, inner) when transposed */
  b: tf.TensorInfo;
  transposeA: boolean;
  transposeB: boolean;
  rows: number;
  inner: number;
  columns: number;
  /** the leading axes of the result */
  stack: number[];
}

/** @throws Error when the inner axes differ or the leading axes do not broadcast */
function describe({ inputs: { a, b }, attrs }: ProductCall): Product {
  const transposeA = Boolean(attrs?.transposeA);
  const transposeB = Boolean(attrs?.transposeB);
  const [first, last] = [-2, -1].map((axis) => a.shape.at(axis));
  const [innerB, columns] = [-2, -1].map((axis) => b.shape.at(transposeB ? -3 - axis : axis));
  const [rows, inner] = transposeA ? [last, first] : [first, last];
  if (rows === undefined || columns === undefined || inner !== innerB || inner === undefined) {
    const shown = [a, b].map(({ shape }) => `(${shape.join(", ")})`);
    const flags = `transposeA=${transposeA} and transposeB=${transposeB}`;
    throw new Error(`matMul: inner axes must be equal, got ${shown.join(" and ")} with ${flags}`);
  }
  const stack = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  return { a, b, transposeA, transposeB, rows, inner, columns, stack };
}

function multiply(call: ProductCall, own: OwnKernel): KernelResult {
  const backend = call.backend as WasmBackend;
  const product = describe(call);
  const { transposeA, transposeB, rows, inner, columns, stack } = product;
  const matrices = tf.util.sizeFromShape(stack);
  if (rows * inner * columns * matrices === 0) {
    return zeros(backend, [...stack, rows, columns]);
  }
  if (matrices === 1 && !transposeA && !transposeB) {
    return own(call as KernelCall);
  }
  return isCheaperSwapped(product) ? multiplySwapped(product, backend, own) : multiplyDirect(product, backend, own);
}

/** Whether fewer values must be transposed to compute the product as (bᵀ aᵀ)ᵀ. */
function isCheaperSwapped({ transposeA, transposeB, rows, inner, columns }: Product): boolean {
  const [sizeA, sizeB] = [rows * inner, inner * columns];
  const direct = (transposeA ? sizeA : 0) + (transposeB ? sizeB : 0);
  const swapped = (transposeA ? 0 : sizeA) + (transposeB ? 0 : sizeB) + rows * columns;
  return swapped < direct;
}

function multiplySwapped(product: Product, backend: WasmBackend, own: OwnKernel): tf.TensorInfo {
  const { a, b, transposeA, transposeB, rows, columns } = product;
  const swapped = { a: b, b: a, transposeA: !transposeB, transposeB: !transposeA, rows: columns, columns: rows };
  const transposed = multiplyDirect({ ...product, ...swapped }, backend, own);
  const result = transpose(transposed, backend);
  backend.disposeData(transposed.dataId);
  return result;
}

function multiplyDirect(product: Product, backend: WasmBackend, own: OwnKernel): tf.TensorInfo {
  const { a, b, transposeA, transposeB } = product;
  const plainA = transposeA ? transpose(a, backend) : a;
  const plainB = transposeB ? transpose(b, backend) : b;
  const result = multiplyPlain({ ...product, a: plainA, b: plainB }, backend, own);
  if (transposeA) {
    backend.disposeData(plainA.dataId);
  }
  if (transposeB) {
    backend.disposeData(plainB.dataId);
  }
  return result;
}

/** @param product with neither operand transposed */
function multiplyPlain(product: Product, backend: WasmBackend, own: OwnKernel): tf.TensorInfo {
  const { a, b, rows, inner, columns, stack } = product;
  const once = (left: number[], right: number[]) => {
    const inputs = { a: { ...a, shape: left }, b: { ...b, shape: right } };
    return own({ inputs, attrs: { transposeA: false, transposeB: false }, backend }) as tf.TensorInfo;
  };
  const shape = [...stack, rows, columns];
  if (tf.util.sizeFromShape(b.shape) === inner * columns) {
    // If there is one matrix on the right, the stack on the left is treated as one tall matrix.
    return { ...once([1, tf.util.sizeFromShape(stack) * rows, inner], [1, inner, columns]), shape };
  }
  const broadcast =
    tf.util.sizeFromShape(a.shape) !== (tf.util.sizeFromShape(shape) / columns) * inner ||
    tf.util.sizeFromShape(b.shape) !== (tf.util.sizeFromShape(shape) / rows) * inner;
  if (!broadcast && rows * inner * columns < SMALL_PRODUCT) {
    return once(a.shape, b.shape);
  }
  return multiplyStack(product, backend);
}

/** The backend's function for products, which takes tensor ids. */
function rawProduct(backend: WasmBackend): (...args: unknown[]) => void {
  const [id, shape, rank, flag] = ["number", "array", "number", "number"] as const;
  return rawFunction(backend, tf.BatchMatMul, [id, shape, rank, id, shape, rank, flag, flag, id]);
}

function multiplyStack(product: Product, backend: WasmBackend): tf.TensorInfo {
  const { a, b, rows, inner, columns, stack } = product;
  const raw = rawProduct(backend);
  const result = backend.makeOutput([...stack, rows, columns], "float32");
  const shapeA = bytes([1, rows, inner]);
  const shapeB = bytes([1, inner, columns]);
  const whichA = matrixIndex(a.shape.slice(0, -2), stack);
  const whichB = matrixIndex(b.shape.slice(0, -2), stack);
  const matrices = tf.util.sizeFromShape(stack);
  for (let matrix = 0; matrix < matrices; matrix++) {
    withPart(backend, a, { start: whichA(matrix) * rows * inner, size: rows * inner }, (left) =>
      withPart(backend, b, { start: whichB(matrix) * inner * columns, size: inner * columns }, (right) =>
        withPart(backend, result, { start: matrix * rows * columns, size: rows * columns }, (out) =>
          raw(left, shapeA, 3, right, shapeB, 3, 0, 0, out),
        ),
      ),
    );
  }
  return result;
}

/**
 * Returns a function that maps an index in the whole stack to the index of an operand's matrix. The operand has the
 * leading axes `own`, which may broadcast.
 */
function matrixIndex(own: readonly number[], stack: readonly number[]): (place: number) => number {
  const padded = [...Array<number>(stack.length - own.length).fill(1), ...own];
  return (place) => {
    let rest = place;
    let index = 0;
    let stride = 1;
    for (let axis = stack.length - 1; axis >= 0; axis--) {
      const length = stack[axis] ?? 1;
      const ownLength = padded[axis] ?? 1;
      index += ownLength === 1 ? 0 : stride * (rest % length);
      rest = Math.floor(rest / length);
      stride *= ownLength;
    }
    return index;
  };
}

function transpose(x: tf.TensorInfo, backend: WasmBackend): tf.TensorInfo {
  const rank = x.shape.length;
  const perm = [...Array(rank - 2).keys(), rank - 1, rank - 2];
  return ownKernel(tf.Transpose, "wasm").kernelFunc({ inputs: { x }, attrs: { perm }, backend }) as tf.TensorInfo;
}

function zeros(backend: WasmBackend, shape: number[]): tf.TensorInfo {
  const result = backend.makeOutput(shape, "float32");
  floats(backend, result, tf.util.sizeFromShape(shape)).fill(0);
  return result;
}

function bytes(shape: readonly number[]): Uint8Array {
  return new Uint8Array(new Int32Array(shape).buffer);
}

interface FusedInputs extends ProductInputs {
  bias?: tf.Tensor;
  preluActivationWeights?: tf.Tensor;
}

interface FusedAttributes extends ProductAttributes {
  activation: string;
  leakyreluAlpha?: number;
}

function multiplyFused(call: KernelCall<FusedInputs, FusedAttributes>, own: OwnKernel): KernelResult {
  const { a, b, bias, preluActivationWeights } = call.inputs;
  const { transposeA, transposeB, activation, leakyreluAlpha } = call.attrs;
  const [sizeA, sizeB] = [a, b].map(({ shape }) => tf.util.sizeFromShape(shape));
  const plain = !transposeA && !transposeB && a.shape[0] === 1 && b.shape[0] === 1;
  if (plain && sizeA && sizeB && (bias?.shape.length ?? 1) === 1) {
    return own(call);
  }
  return tf.tidy(() => {
    const product = tf.matMul(a, b, transposeA, transposeB);
    const sum = bias ? tf.add(product, bias) : product;
    return activate(sum, activation, { leakyreluAlpha, preluActivationWeights });
  });
}

interface ActivationOptions {
  leakyreluAlpha?: number | undefined;
  preluActivationWeights?: tf.Tensor | undefined;
}

function activate(x: tf.Tensor, activation: string, options: ActivationOptions): tf.Tensor {
  const { leakyreluAlpha, preluActivationWeights } = options;
  switch (activation) {
    case "linear":
      return x;
    case "relu":
      return tf.relu(x);
    case "relu6":
      return tf.relu6(x);
    case "elu":
      return tf.elu(x);
    case "sigmoid":
      return tf.sigmoid(x);
    case "leakyrelu":
      return tf.leakyRelu(x, leakyreluAlpha);
    case "prelu":
      return tf.prelu(x, preluActivationWeights as tf.Tensor);
    default:
      throw new Error(`_FusedMatMul: unknown activation "${activation}"`);
  }
}
