// Matrix products for the wasm engine. TensorFlow.js's WebAssembly backend has a fast product (XNNPACK's) for two plain
// matrices only: one that is transposed, or a stack of them, takes a loop ten to forty times slower, and every backward
// pass and every attention is such a product. Here operands are transposed first and stacks taken matrix by matrix.

import * as tf from "@tensorflow/tfjs-core";
import { floats, type WasmBackend, withPart } from "./wasm-memory.ts";

type Call = Parameters<tf.KernelFunc>[0];

/** Multiply-adds in one matrix of a stack; below it the slow product is faster than entering XNNPACK. */
const SMALL_PRODUCT = 4096;

export function registerMatMul(): void {
  const plain = ownKernel(tf.BatchMatMul);
  tf.unregisterKernel(tf.BatchMatMul, "wasm");
  tf.registerKernel({ ...plain, kernelFunc: (call) => multiply(call, plain.kernelFunc) });
}

function ownKernel(kernelName: string): tf.KernelConfig {
  const own = tf.getKernel(kernelName, "wasm");
  if (!own) {
    throw new Error(`registerMatMul: the wasm backend has no kernel ${kernelName}`);
  }
  return own;
}

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
function describe({ inputs, attrs }: Call): Product {
  const { a, b } = inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
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

function multiply(call: Call, slow: tf.KernelFunc): tf.TensorInfo | tf.TensorInfo[] {
  const backend = call.backend as WasmBackend;
  const product = describe(call);
  const { transposeA, transposeB, rows, inner, columns, stack } = product;
  const matrices = tf.util.sizeFromShape(stack);
  if (rows * inner * columns * matrices === 0) {
    return zeros(backend, [...stack, rows, columns]);
  }
  if (matrices === 1 && !transposeA && !transposeB) {
    return slow(call);
  }
  return isCheaperSwapped(product) ? multiplySwapped(product, backend, slow) : multiplyDirect(product, backend, slow);
}

/** Whether computing the transposed result, of swapped operands, leaves fewer values to transpose. */
function isCheaperSwapped({ transposeA, transposeB, rows, inner, columns }: Product): boolean {
  const [sizeA, sizeB] = [rows * inner, inner * columns];
  const direct = (transposeA ? sizeA : 0) + (transposeB ? sizeB : 0);
  const swapped = (transposeA ? 0 : sizeA) + (transposeB ? 0 : sizeB) + rows * columns;
  return swapped < direct;
}

function multiplySwapped(product: Product, backend: WasmBackend, slow: tf.KernelFunc): tf.TensorInfo {
  const { a, b, transposeA, transposeB, rows, columns } = product;
  const swapped = { a: b, b: a, transposeA: !transposeB, transposeB: !transposeA, rows: columns, columns: rows };
  const transposed = multiplyDirect({ ...product, ...swapped }, backend, slow);
  const result = transpose(transposed, backend);
  backend.disposeData(transposed.dataId);
  return result;
}

function multiplyDirect(product: Product, backend: WasmBackend, slow: tf.KernelFunc): tf.TensorInfo {
  const { a, b, transposeA, transposeB } = product;
  const plainA = transposeA ? transpose(a, backend) : a;
  const plainB = transposeB ? transpose(b, backend) : b;
  const result = multiplyPlain({ ...product, a: plainA, b: plainB }, backend, slow);
  if (transposeA) {
    backend.disposeData(plainA.dataId);
  }
  if (transposeB) {
    backend.disposeData(plainB.dataId);
  }
  return result;
}

/** @param product with neither operand transposed */
function multiplyPlain(product: Product, backend: WasmBackend, slow: tf.KernelFunc): tf.TensorInfo {
  const { a, b, rows, inner, columns, stack } = product;
  const once = (left: number[], right: number[]) => {
    const inputs = { a: { ...a, shape: left }, b: { ...b, shape: right } };
    return slow({ inputs, attrs: { transposeA: false, transposeB: false }, backend }) as tf.TensorInfo;
  };
  const shape = [...stack, rows, columns];
  if (tf.util.sizeFromShape(b.shape) === inner * columns) {
    // One matrix on the right: the stack on the left is one tall matrix.
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

const rawProducts = new WeakMap<object, (...args: unknown[]) => void>();

/** The backend's product by tensor ids. */
function rawProduct({ wasm }: WasmBackend): (...args: unknown[]) => void {
  let raw = rawProducts.get(wasm);
  if (!raw) {
    const [id, shape, rank, flag] = ["number", "array", "number", "number"] as const;
    raw = wasm.cwrap(tf.BatchMatMul, null, [id, shape, rank, id, shape, rank, flag, flag, id]);
    rawProducts.set(wasm, raw);
  }
  return raw;
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

/** Which matrix of an operand stacked as `own` stands at a place of the whole stack, broadcasting axes of size one. */
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
  return ownKernel(tf.Transpose).kernelFunc({ inputs: { x }, attrs: { perm }, backend }) as tf.TensorInfo;
}

function zeros(backend: WasmBackend, shape: number[]): tf.TensorInfo {
  const result = backend.makeOutput(shape, "float32");
  floats(backend, result, tf.util.sizeFromShape(shape)).fill(0);
  return result;
}

function bytes(shape: readonly number[]): Uint8Array {
  return new Uint8Array(new Int32Array(shape).buffer);
}
