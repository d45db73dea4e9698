// The product with a packed GBLR matrix whose blocks are sorted into tiles, for inference. The torch backend runs an
// operator of the addon (native/gblr/tile-product.cc) that multiplies views; the composition here is for the other
// backends.

import {
  add,
  addN,
  concat,
  matMul,
  type NamedTensorMap,
  pad,
  reshape,
  slice,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
} from "@tensorflow/tfjs-core";
import { asRows, registerPortable, runKernel } from "../op.ts";
import { expectOperand } from "../operands.ts";
import { TILE_PRODUCT, type TileProductAttributes, type TileProductInputs } from "./kernels.ts";

/** The factors and the bias of a product with tiles. */
export interface TileProductOperands {
  /** float32: the matrices (inputs, blocks) of Vᵀ (n_in, B) one after the other */
  valuesIn: Tensor1D;
  /** for each of them: first input, number of inputs, number of blocks */
  tilesIn: readonly number[];
  /** float32: the matrices (blocks, outputs) of U (B, n_out) one after the other */
  valuesOut: Tensor1D;
  /** for each of them: first output, number of outputs, number of blocks */
  tilesOut: readonly number[];
  /** float32 (n_out) */
  bias?: Tensor1D | undefined;
  blocks: number;
  nOut: number;
}

/**
 * y = x Vᵀ U + b, with both factors as small dense matrices.
 * @param x float32 (..., n_in)
 * @returns float32 (..., n_out)
 * @throws ShapeError when an operand does not fit; tiles must lie within the factors and cover blocks and values
 */
export function tileProduct(x: Tensor, operands: TileProductOperands): Tensor {
  const { valuesIn, tilesIn, valuesOut, tilesOut, bias, blocks, nOut } = operands;
  expectOperand("tileProduct", { x }, { dtype: "float32", shape: ["...", "n_in"] });
  expectOperand("tileProduct", { valuesIn, valuesOut }, { dtype: "float32", shape: ["values"] });
  if (bias !== undefined) expectOperand("tileProduct", { bias }, { dtype: "float32", shape: [nOut] });
  const inputs: NamedTensorMap = { x, valuesIn, valuesOut, ...(bias && { bias }) };
  return runKernel(TILE_PRODUCT, inputs, { tilesIn: [...tilesIn], tilesOut: [...tilesOut], blocks, nOut })[0] as Tensor;
}

registerPortable<TileProductInputs, TileProductAttributes>(
  TILE_PRODUCT,
  ({ x, valuesIn, valuesOut, bias }, { tilesIn, tilesOut, nOut }) => {
    const rows = asRows(x) as Tensor2D;
    const count = rows.shape[0];
    const z = concat(
      matricesOf(tilesIn).map(({ start, length, blocks, values }) => {
        const matrix = reshape(slice(valuesIn, [values], [length * blocks]), [length, blocks]);
        return matMul(slice(rows, [0, start], [count, length]), matrix as Tensor2D);
      }),
      1,
    );
    const parts = matricesOf(tilesOut).map(({ start, length, blocks, first, values }) => {
      const matrix = reshape(slice(valuesOut, [values], [length * blocks]), [blocks, length]);
      const part = matMul(slice(z, [0, first], [count, blocks]), matrix as Tensor2D);
      return pad(part, [
        [0, 0],
        [start, nOut - start - length],
      ]);
    });
    const product = addN(parts);
    const y = bias === undefined ? product : add(product, reshape(bias, [1, nOut]));
    return reshape(y, [...x.shape.slice(0, -1), nOut]);
  },
);

/** The matrices of triples, with the first block and the index of the first value of each. */
function matricesOf(triples: readonly number[]) {
  let [first, values] = [0, 0];
  return Array.from({ length: triples.length / 3 }, (_, i) => {
    const [start, length, blocks] = triples.slice(3 * i, 3 * i + 3) as [number, number, number];
    const matrix = { start, length, blocks, first, values };
    first += blocks;
    values += length * blocks;
    return matrix;
  });
}
