// The packed form of a GBLR matrix: the spans of its live blocks and the values in them (docs/format.md). It is used in
// files and for inference. It cannot be trained further, because it does not contain dead blocks.

import {
  cast,
  concat,
  div,
  reshape,
  slice,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tensor,
  tensor1d,
  tidy,
  zeros,
} from "@tensorflow/tfjs-core";
import { spreadValues } from "../engine/ops/gblr/products.ts";
import { packedProduct as product } from "../engine/ops/index.ts";
import { filledUp, GblrMatrix } from "./matrix.ts";
import { type Span, spanOfMask } from "./widths.ts";

/** A packed matrix with B live blocks. Its owner disposes of the tensors. */
export interface PackedGblr {
  /** int32 (4, B): start_in, length_in, start_out, length_out, in samples; cyclic */
  spans: Tensor2D;
  /** float32 (Σ length_in), block after block, each beginning at the block's start */
  values_in: Tensor1D;
  /** float32 (Σ length_out) */
  values_out: Tensor1D;
  /** float32 (n_out) */
  bias?: Tensor1D | undefined;
  nIn: number;
  nOut: number;
}

/**
 * Packs a matrix as evaluation uses it. The values are the products of factors and masks; spans cover all nonzero
 * entries of smooth masks. A block of rank r becomes r blocks with the same spans. The bias is the matrix's own tensor,
 * not a copy.
 */
export async function pack({ parameters, settings, blocks, rank, nIn, nOut }: GblrMatrix): Promise<PackedGblr> {
  const matrix = new GblrMatrix(parameters, { ...settings, mode: "eval" });
  const { masks, factors } = tidy(() => ({ masks: { ...matrix.masks() }, factors: { ...matrix.factors() } }));
  const [maskIn, maskOut, rowsIn, rowsOut] = await readAll([masks.input, masks.output, factors.input, factors.output]);
  const kept: { row: number; across: Span; down: Span }[] = [];
  for (let k = 0; k < blocks; k++) {
    const across = spanOfMask(maskIn.subarray(k * nIn, (k + 1) * nIn));
    const down = spanOfMask(maskOut.subarray(k * nOut, (k + 1) * nOut));
    if (across && down) {
      const rows = Array.from({ length: rank }, (_, i) => k * rank + i);
      kept.push(...rows.map((row) => ({ row, across, down })));
    }
  }
  const sides = kept.map(({ across, down }) => [across.start, across.length, down.start, down.length]);
  const spans = Int32Array.from([0, 1, 2, 3].flatMap((side) => sides.map((of) => of[side] as number)));
  return {
    spans: tensor(spans, [4, kept.length], "int32"),
    values_in: tensor1d(
      gathered(
        rowsIn,
        nIn,
        kept.map(({ row, across }) => ({ row, ...across })),
      ),
      "float32",
    ),
    values_out: tensor1d(
      gathered(
        rowsOut,
        nOut,
        kept.map(({ row, down }) => ({ row, ...down })),
      ),
      "float32",
    ),
    bias: parameters.bias as Tensor1D | undefined,
    nIn,
    nOut,
  };
}

/** The inverse of `pack`: a matrix of B blocks of rank 1 without a Gaussian. */
export function unpack({ spans, values_in, values_out, bias, nIn, nOut }: PackedGblr): GblrMatrix {
  const blocks = spans.shape[1];
  const parameters = tidy(() => ({
    lr_weight1: reshape(spreadValues(spans, values_in, { at: 0, n: nIn }), [blocks, 1, nIn]),
    lr_weight2: reshape(spreadValues(spans, values_out, { at: 2, n: nOut }), [blocks, nOut, 1]),
    widths: shares(spans, 1, [nIn, nOut]),
    locations: shares(spans, 0, [nIn, nOut]),
  }));
  return new GblrMatrix({ ...parameters, ...(bias && { bias }) }, { mode: "eval" });
}

/**
 * The product y = x Wᵀ + b from the packed form, for inference. It has no gradient.
 * @param x float32 (..., n_in); shorter rows are padded with zeros
 * @returns float32 (..., n_out)
 * @throws ShapeError when an operand does not fit
 */
export function packedProduct(x: Tensor, { spans, values_in, values_out, bias, nIn, nOut }: PackedGblr): Tensor {
  const operands = { spans, valuesIn: values_in, valuesOut: values_out, bias, nOut };
  return tidy(() => product(filledUp(x, nIn), operands));
}

/** The values of rows (…, n) within their spans, concatenated. */
function gathered(rows: Float32Array, n: number, spans: (Span & { row: number })[]): Float32Array {
  const values = new Float32Array(spans.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const { row, start, length } of spans) {
    const straight = Math.min(length, n - start);
    values.set(rows.subarray(row * n + start, row * n + start + straight), at);
    values.set(rows.subarray(row * n, row * n + length - straight), at + straight);
    at += length;
  }
  return values;
}

/** Rows `first` and `first` + 2 of the spans, (2, B), as shares of n_in and n_out. */
function shares(spans: Tensor2D, first: 0 | 1, [nIn, nOut]: [number, number]): Tensor2D {
  const blocks = spans.shape[1];
  if (blocks === 0) {
    return zeros([2, 0]);
  }
  const side = (row: number, n: number) => div(cast(slice(spans, [row, 0], [1, blocks]), "float32"), n);
  return concat([side(first, nIn), side(first + 2, nOut)], 0) as Tensor2D;
}

async function readAll(tensors: Tensor[]): Promise<[Float32Array, Float32Array, Float32Array, Float32Array]> {
  const values = await Promise.all(tensors.map((each) => each.data()));
  for (const each of tensors) {
    each.dispose();
  }
  return values as unknown as [Float32Array, Float32Array, Float32Array, Float32Array];
}
