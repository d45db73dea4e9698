// The two products with GBLR matrices. `gblrWeight` computes the dense matrix from masked factors, with gradients; on
// the CPU, torch skips blocks whose masks are empty. `packedProduct` multiplies by a sum of rank-1 blocks that are
// stored as spans and values (docs/format.md), without a gradient, for inference. The torch backend runs operators of
// the addon (native/gblr/); the compositions here serve the other backends.

import {
  add,
  cast,
  cumsum,
  expandDims,
  gather,
  less,
  matMul,
  mul,
  type NamedTensorMap,
  range,
  reshape,
  slice,
  sub,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tidy,
  zeros,
} from "@tensorflow/tfjs-core";
import { asRows, differentiable, registerPortable, runKernel } from "../op.ts";
import { expectOperand } from "../operands.ts";
import {
  GBLR_WEIGHT,
  GBLR_WEIGHT_GRADIENT,
  type GblrWeightGradientInputs,
  type GblrWeightInputs,
  PACKED_PRODUCT,
  type PackedProductAttributes,
  type PackedProductInputs,
} from "./kernels.ts";

/**
 * The dense matrix of masked factors: W = Σ_k output_k input_kᵀ.
 * @param output float32 (K, n_out)
 * @param input float32 (K, n_in)
 * @returns float32 (n_out, n_in)
 * @throws ShapeError when an operand does not fit
 */
export function gblrWeight(output: Tensor2D, input: Tensor2D): Tensor2D {
  expectOperand("gblrWeight", { output }, { dtype: "float32", shape: ["K", "n_out"] });
  expectOperand("gblrWeight", { input }, { dtype: "float32", shape: [output.shape[0], "n_in"] });
  const inputs = { output, input };
  return differentiable({
    name: "gblrWeight",
    inputs,
    forward: () => ({ value: runKernel(GBLR_WEIGHT, inputs)[0] as Tensor, saved: [output, input] }),
    backward: (dy, saved) => {
      const [output, input] = saved as [Tensor, Tensor];
      const gradients = runKernel(GBLR_WEIGHT_GRADIENT, { dy, output, input }) as [Tensor, Tensor];
      return { output: () => gradients[0], input: () => gradients[1] };
    },
  }) as Tensor2D;
}

registerPortable<GblrWeightInputs>(GBLR_WEIGHT, ({ output, input }) => matMul(output, input, true));
registerPortable<GblrWeightGradientInputs>(GBLR_WEIGHT_GRADIENT, ({ dy, output, input }) => [
  matMul(input, dy, false, true),
  matMul(output, dy),
]);

/** The packed matrix and the bias of a product. */
export interface PackedProductOperands {
  /** int32 (4, B): start and length on the input side, start and length on the output side; cyclic */
  spans: Tensor2D;
  /** float32 (Σ lengths on the input side), block after block */
  valuesIn: Tensor1D;
  /** float32 (Σ lengths on the output side), as `valuesIn` */
  valuesOut: Tensor1D;
  /** float32 (n_out) */
  bias?: Tensor1D | undefined;
  nOut: number;
}

/**
 * The product with a packed matrix: y = x Wᵀ + b, W = Σ_b (values_out of b at its output span)(values_in of b at its
 * input span)ᵀ.
 * @param x float32 (..., n_in)
 * @returns float32 (..., n_out)
 * @throws ShapeError when an operand does not fit; spans must lie within the matrix and cover the values
 */
export function packedProduct(x: Tensor, { spans, valuesIn, valuesOut, bias, nOut }: PackedProductOperands): Tensor {
  expectOperand("packedProduct", { x }, { dtype: "float32", shape: ["...", "n_in"] });
  expectOperand("packedProduct", { spans }, { dtype: "int32", shape: [4, "B"] });
  expectOperand("packedProduct", { valuesIn, valuesOut }, { dtype: "float32", shape: ["values"] });
  if (bias !== undefined) {
    expectOperand("packedProduct", { bias }, { dtype: "float32", shape: [nOut] });
  }
  return tidy("packedProduct", () => {
    const rows = asRows(x);
    const inputs: NamedTensorMap = { x: rows, spans, valuesIn, valuesOut, ...(bias && { bias }) };
    const [y] = runKernel(PACKED_PRODUCT, inputs, { nOut }) as [Tensor];
    return reshape(y, [...x.shape.slice(0, -1), nOut]);
  });
}

/**
 * One side of a packed matrix as a dense factor: row b holds the values of block b at its span, and zeros elsewhere.
 * @param spans int32 (4, B)
 * @param values float32, of that side
 * @param at 0 for the input side, 2 for the output side: its first row in `spans`
 * @returns float32 (B, n)
 */
export function spreadValues(spans: Tensor, values: Tensor, { at, n }: { at: 0 | 2; n: number }): Tensor2D {
  const blocks = spans.shape[1] as number;
  if (blocks === 0) {
    return zeros([0, n]);
  }
  return tidy(() => {
    const start = reshape(slice(spans, [at, 0], [1, blocks]), [blocks, 1]);
    const lengths = reshape(slice(spans, [at + 1, 0], [1, blocks]), [blocks]);
    const ahead = sub(range(0, n, 1, "int32"), start);
    const offset = add(ahead, mul(cast(less(ahead, 0), "int32"), cast(n, "int32")));
    const inside = cast(less(offset, expandDims(lengths, 1)), "int32");
    const first = expandDims(cumsum(lengths, 0, true), 1);
    return mul(gather(values, cast(add(mul(offset, inside), first), "int32")), cast(inside, "float32")) as Tensor2D;
  });
}

registerPortable<PackedProductInputs, PackedProductAttributes>(
  PACKED_PRODUCT,
  ({ x, spans, valuesIn, valuesOut, bias }, { nOut }) => {
    const [rows, nIn] = x.shape as [number, number];
    const start = bias === undefined ? zeros([rows, nOut]) : add(zeros([rows, nOut]), bias);
    if (spans.shape[1] === 0) {
      return start;
    }
    const input = spreadValues(spans, valuesIn, { at: 0, n: nIn });
    const output = spreadValues(spans, valuesOut, { at: 2, n: nOut });
    return add(matMul(matMul(x as Tensor2D, input, false, true), output), start);
  },
);
