// Random matrices in float64, and the matrix that blocks sum up to, entry by entry.

import { Matrix } from "ml-matrix";
import type { Block } from "../../../workbench/gblr/tiles/block.ts";
import { sample } from "../../engine/ops/operands.ts";

export const random = (seed: number, rows: number, columns: number): Matrix =>
  Matrix.from1DArray(rows, columns, Float64Array.from(sample(seed, [rows, columns]).values));

export const lengthOf = ({ start, end }: { start: number; end: number }) => end - start;

export function sumOf(blocks: readonly Block[], nOut: number, nIn: number): Matrix {
  const sum = Matrix.zeros(nOut, nIn);
  for (const { rows, columns, left, right } of blocks) {
    for (let i = 0; i < lengthOf(rows); i++) {
      for (let j = 0; j < lengthOf(columns); j++) {
        const [row, column] = [rows.start + i, columns.start + j];
        sum.set(row, column, sum.get(row, column) + (left[i] as number) * (right[j] as number));
      }
    }
  }
  return sum;
}
