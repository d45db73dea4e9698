// GBLR parameters of low-rank, block-low-rank and block-sparse matrices against plain constructions of the same matrix:
// equal entries, equal products, equal cost; training and evaluation.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import type { GblrParameters } from "../../workbench/gblr/matrix.ts";
import { GblrMatrix } from "../../workbench/gblr/matrix.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, expectRefusal, type Operand, read, sample, toTensor } from "../engine/ops/operands.ts";
import { blockLowRank, blockSparse, lowRank } from "./special-cases.ts";

/** Σ over i of a[r, i] b[i, c], both row by row. */
function product(a: ArrayLike<number>, b: ArrayLike<number>, inner: number): Float64Array {
  const [rows, columns] = [a.length / inner, b.length / inner];
  return Float64Array.from({ length: rows * columns }, (_, at) => {
    const [r, c] = [Math.floor(at / columns), at % columns];
    let sum = 0;
    for (let i = 0; i < inner; i++) {
      sum += (a[r * inner + i] as number) * (b[i * columns + c] as number);
    }
    return sum;
  });
}

/** Copies a block (height, width) into its cell of a matrix with rows of n_in. */
function place(
  dense: Float64Array,
  block: ArrayLike<number>,
  at: { top: number; left: number; width: number; nIn: number },
): void {
  for (let i = 0; i < block.length; i++) {
    const [row, column] = [at.top + Math.floor(i / at.width), at.left + (i % at.width)];
    dense[row * at.nIn + column] = block[i] as number;
  }
}

async function expectMatrix(parameters: GblrParameters, dense: Float64Array, cost: number): Promise<void> {
  const x = sample(9, [4, parameters.lr_weight1.shape[2] as number]);
  const nIn = x.shape[1] as number;
  const transposed = Float64Array.from(dense, (_, at) => {
    const nOut = dense.length / nIn;
    return dense[(at % nOut) * nIn + Math.floor(at / nOut)] as number;
  });
  for (const mode of ["train", "eval"] as const) {
    const matrix = new GblrMatrix(parameters, { mode });
    expectClose(await read(matrix.dense()), dense);
    for (const via of ["dense", "factored"] as const) {
      expectClose(await read(matrix.apply(toTensor(x), { via })), product(x.values, transposed, nIn));
    }
    expect(await matrix.cost()).toBe(cost);
  }
}

const part = ({ values, shape }: Operand, index: number): Float64Array => {
  const size = shape.slice(1).reduce((all, n) => all * n, 1);
  return values.slice(index * size, (index + 1) * size);
};

forEachEngine("special cases of GBLR", () => {
  test("a low-rank matrix is blocks of full width, and costs r (n_in + n_out)", async () => {
    const [nOut, nIn, rank] = [10, 7, 3];
    const [u, v] = [sample(1, [nOut, rank]), sample(2, [rank, nIn])];
    const parameters = lowRank(toTensor(u) as tf.Tensor2D, toTensor(v) as tf.Tensor2D);
    await expectMatrix(parameters, product(u.values, v.values, rank), rank * (nIn + nOut));
  });

  test("a block-low-rank matrix is aligned blocks, and costs r (s + t) a cell", async () => {
    const [rows, columns, height, width, rank] = [2, 3, 6, 5, 2];
    const [u, v] = [sample(3, [rows * columns, height, rank]), sample(4, [rows * columns, rank, width])];
    const nIn = columns * width;
    const dense = new Float64Array(rows * height * nIn);
    for (let cell = 0; cell < rows * columns; cell++) {
      const [top, left] = [Math.floor(cell / columns) * height, (cell % columns) * width];
      place(dense, product(part(u, cell), part(v, cell), rank), { top, left, width, nIn });
    }
    const parameters = blockLowRank(toTensor(u) as tf.Tensor3D, toTensor(v) as tf.Tensor3D, { rows, columns });
    await expectMatrix(parameters, dense, rows * columns * rank * (height + width));
  });

  test("a block-sparse matrix is blocks of full rank, and costs its entries", async () => {
    for (const [height, width] of [
      [4, 3],
      [3, 4],
      [5, 5],
    ] as const) {
      const [grid, places] = [{ rows: 3, columns: 4 }, [1, 6, 8, 11]];
      const blocks = sample(5, [places.length, height, width]);
      const nIn = grid.columns * width;
      const dense = new Float64Array(grid.rows * height * nIn);
      places.forEach((cell, k) => {
        const [top, left] = [Math.floor(cell / grid.columns) * height, (cell % grid.columns) * width];
        place(dense, part(blocks, k), { top, left, width, nIn });
      });
      const parameters = blockSparse(toTensor(blocks) as tf.Tensor3D, places, grid);
      await expectMatrix(parameters, dense, places.length * height * width);
    }
  });

  test("refuses blocks that do not fill their places", () => {
    const grid = { rows: 2, columns: 2 };
    expectRefusal(
      () => blockSparse(tf.zeros([2, 3, 3]), [0, 0], grid),
      "blockSparse: places must be different cells of a 2 by 2 grid, got 0, 0",
    );
    expectRefusal(
      () => blockLowRank(tf.zeros([4, 3, 2]), tf.zeros([3, 2, 3]), grid),
      "blockLowRank: input must be float32 (4, r, s), got float32 (3, 2, 3)",
    );
    expectRefusal(
      () => lowRank(tf.zeros([4, 3]), tf.zeros([2, 4])),
      "lowRank: output must be float32 (n_out, 2), got float32 (4, 3)",
    );
  });
});
