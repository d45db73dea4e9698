// The correlation search for where blocks lie (arXiv 2310.18882, appendix A.2): a block spans the columns that are
// correlated with a strong one, and the rows that are correlated within those. On the host in float64; no factors here.

import type { Float64Matrix } from "../../engine/linalg/float64.ts";
import { product } from "../../engine/linalg/float64.ts";
import { expectSetting } from "../../engine/ops/operands.ts";
import { longestRun, type Run } from "./longest-run.ts";

export interface FindMaskOptions {
  /** most parameters of all blocks together, Σ (width_in + width_out) in samples; the last block that fits ends it */
  budget: number;
  /** standard deviation of the circular Gaussian over correlations, samples. Default 10 */
  smoothing?: number;
  /** share of the largest smoothed correlation from which samples belong to a block. Default 0.98 */
  threshold?: number;
}

export interface FoundMask {
  /** (2, K) with K = min(n_out, n_in); row 0 the input side; whole samples as shares of n; 0 from where the budget ends */
  widths: Float64Array;
  /** (2, K) */
  locations: Float64Array;
}

interface Search {
  smoothing: number;
  threshold: number;
}

/**
 * O(n_in² n_out + K n_out² width) multiply-adds: seconds for a side of a few hundred, minutes for thousands.
 *
 * @param matrix n_out rows, n_in columns
 * @throws ShapeError when a setting is out of range
 */
export function findMask(matrix: Float64Matrix, options: FindMaskOptions): FoundMask {
  const { budget, smoothing = 10, threshold = 0.98 } = options;
  expectSetting("findMask", { budget }, "a number of at least 0", budget >= 0);
  expectSetting("findMask", { smoothing }, "a number above 0", smoothing > 0 && Number.isFinite(smoothing));
  expectSetting("findMask", { threshold }, "at least 0 and below 1", threshold >= 0 && threshold < 1);
  const { rows: nOut, columns: nIn } = matrix;
  const blocks = Math.min(nOut, nIn);
  const widths = new Float64Array(2 * blocks);
  const locations = new Float64Array(2 * blocks);
  const inputs = inputSearch(matrix, { smoothing, threshold });
  const outputs = outputSearch(matrix, { smoothing, threshold });
  let spent = 0;
  for (let k = 0; k < blocks; k++) {
    const input = inputs(k);
    const output = outputs(k, input);
    spent += input.width > 0 && output.width > 0 ? input.width + output.width : 0;
    if (spent > budget) {
      break;
    }
    widths[k] = input.width / nIn;
    widths[blocks + k] = output.width / nOut;
    locations[k] = input.start / nIn;
    locations[blocks + k] = output.start / nOut;
  }
  return { widths, locations };
}

/** The columns of block k: those of the k-th strongest column's correlations above threshold. */
function inputSearch({ values, rows, columns }: Float64Matrix, search: Search): (k: number) => Run {
  const correlations = gramOf(turn(values, rows, columns), columns, rows);
  const order = byNorm(correlations, columns);
  const covered = coveredInRows(correlations, columns, search);
  // The reference smooths and thresholds along rows, then reads a column: not the same where rows differ in strength.
  return (k) => longestRun(column(covered, order[k] as number, columns));
}

/** The rows of a block whose columns are known. */
function outputSearch({ values, rows, columns }: Float64Matrix, search: Search): (k: number, input: Run) => Run {
  const correlations = gramOf(values, rows, columns);
  const order = byNorm(correlations, rows);
  const covered = coveredInRows(correlations, rows, search);
  return (k, input) => {
    if (input.width === columns) {
      return longestRun(column(covered, order[k] as number, rows));
    }
    const within = gramOf(columnsOf(values, { rows, columns, run: input }), rows, input.width);
    const strongest = byNorm(within, rows)[0] as number;
    return longestRun(covered1(within.subarray(strongest * rows, (strongest + 1) * rows), search));
  };
}

/** X Xᵀ, (rows, rows). */
function gramOf(x: Float64Array, rows: number, columns: number): Float64Array {
  return product(x, turn(x, rows, columns), { rows, inner: columns, columns: rows });
}

function turn(x: Float64Array, rows: number, columns: number): Float64Array {
  const turned = new Float64Array(x.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      turned[j * rows + i] = x[i * columns + j] as number;
    }
  }
  return turned;
}

function columnsOf(x: Float64Array, { rows, columns, run }: { rows: number; columns: number; run: Run }): Float64Array {
  const part = new Float64Array(rows * run.width);
  for (let i = 0; i < rows; i++) {
    for (let t = 0; t < run.width; t++) {
      part[i * run.width + t] = x[i * columns + ((run.start + t) % columns)] as number;
    }
  }
  return part;
}

const column = (x: Uint8Array, j: number, n: number): Uint8Array =>
  Uint8Array.from({ length: n }, (_, i) => x[i * n + j] as number);

/** Row numbers of a symmetric matrix (n, n), those of the largest norm first. */
function byNorm(x: Float64Array, n: number): number[] {
  const norms = Float64Array.from({ length: n }, (_, i) =>
    x.subarray(i * n, (i + 1) * n).reduce((sum, value) => sum + value * value, 0),
  );
  return Array.from(norms, (_, i) => i).sort((a, b) => (norms[b] as number) - (norms[a] as number));
}

function coveredInRows(x: Float64Array, n: number, search: Search): Uint8Array {
  const covered = new Uint8Array(n * n);
  for (let i = 0; i < n; i++) {
    covered.set(covered1(x.subarray(i * n, (i + 1) * n), search), i * n);
  }
  return covered;
}

/** Ones where the smoothed size of a row is above its threshold. */
function covered1(row: Float64Array, { smoothing, threshold }: Search): Uint8Array {
  const smoothed = smooth(row.map(Math.abs), smoothing);
  const level = threshold * smoothed.reduce((most, value) => Math.max(most, value), 0);
  return Uint8Array.from(smoothed, (value) => (value > level ? 1 : 0));
}

/** Circular convolution with a Gaussian cut off at four standard deviations, however often that goes round. */
function smooth(row: Float64Array, deviation: number): Float64Array {
  const n = row.length;
  const radius = Math.floor(4 * deviation + 0.5);
  const kernel = new Float64Array(n);
  for (let x = -radius; x <= radius; x++) {
    const at = ((x % n) + n) % n;
    kernel[at] = (kernel[at] as number) + Math.exp((-0.5 * x * x) / deviation ** 2);
  }
  return row.map((_, i) => {
    let sum = 0;
    for (let j = 0; j < n; j++) {
      sum += (kernel[j] as number) * (row[i >= j ? i - j : i - j + n] as number);
    }
    return sum;
  });
}
