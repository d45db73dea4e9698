// Matrix products and row sums of the fused ops' gradients and compositions. The result is tf.matMul's and tf.sum's;
// what differs is the way there on backends whose transposed or batched products are naive loops.

import {
  concat,
  getBackend,
  matMul,
  ones,
  reshape,
  slice,
  sum,
  type Tensor,
  tidy,
  transpose,
  zeros,
} from "@tensorflow/tfjs-core";

// tfjs-backend-wasm takes XNNPACK for one plain product at a time and a scalar loop for all else: at 512³ a transposed
// product costs ten times as much as a transposition and a plain one. tfjs-backend-cpu gains a factor of two.
const PLAIN_PRODUCTS_ONLY: ReadonlySet<string> = new Set(["wasm", "cpu"]);

export interface ProductOptions {
  /** default false */
  transposeA?: boolean;
  /** default false */
  transposeB?: boolean;
}

/** a (..., m, k) · b (..., k, n) → (..., m, n), the last two axes of either transposed first where asked. */
export function product(a: Tensor, b: Tensor, { transposeA = false, transposeB = false }: ProductOptions = {}): Tensor {
  const rank = a.rank;
  const m = a.shape[transposeA ? rank - 1 : rank - 2] as number;
  const n = b.shape[transposeB ? rank - 2 : rank - 1] as number;
  if (a.size === 0 || b.size === 0) {
    // A sum over nothing is zero, but wasm leaves such a result unwritten.
    return zeros([...a.shape.slice(0, -2), m, n]);
  }
  if (!PLAIN_PRODUCTS_ONLY.has(getBackend())) {
    return matMul(a, b, transposeA, transposeB);
  }
  return tidy(() => (rank === 2 ? plain(a, b, transposeA, transposeB) : each(a, b, transposeA, transposeB)));
}

function plain(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  return matMul(transposeA ? transpose(a) : a, transposeB ? transpose(b) : b);
}

function each(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  const results: Tensor[] = [];
  const leading = a.shape.slice(0, -2);
  const count = leading.reduce((product, size) => product * size, 1);
  const [as, bs] = [a, b].map((stack) => reshape(stack, [count, ...stack.shape.slice(-2)])) as [Tensor, Tensor];
  for (let i = 0; i < count; i++) {
    results.push(tidy(() => plain(matrix(as, i), matrix(bs, i), transposeA, transposeB)));
  }
  const stacked = concat(results);
  return reshape(stacked, [...leading, (stacked.shape[0] as number) / count, stacked.shape[1] as number]);
}

function matrix(stack: Tensor, index: number): Tensor {
  const [, height, width] = stack.shape as [number, number, number];
  return reshape(slice(stack, [index, 0, 0], [1, height, width]), [height, width]);
}

/** x (rows, width) → the sum over rows (width). */
export function sumRows(x: Tensor): Tensor {
  if (getBackend() === "torch") {
    return sum(x, 0);
  }
  const [rows, width] = x.shape as [number, number];
  // Elsewhere a sum over the first axis transposes first.
  return tidy(() => reshape(product(ones([1, rows]), x), [width]));
}

/** x (..., width) → (rows, width) */
export function asRows(x: Tensor): Tensor {
  const width = x.shape[x.rank - 1] as number;
  return x.rank === 2 ? x : reshape(x, [rowCount(x), width]);
}

/** How many rows x (..., width) has; also where width is 0. */
export function rowCount(x: Tensor): number {
  return x.shape.slice(0, -1).reduce((product, size) => product * size, 1);
}
