// The product with the live blocks of a GBLR matrix in training: y = Σ_k (m_out,k ⊙ u_k)((m_in,k ⊙ v_k) · x) + b. Neither
// the matrix nor its gradient is ever in memory, and masks are cropped where they are negligible. Only the torch backend
// has it, on the CPU (native/gblr/live-product.cc); the other engines build the matrix (products.ts).

import { getBackend, getKernel, type NamedTensorMap, type Tensor, type Tensor1D } from "@tensorflow/tfjs-core";
import { asRows, differentiable, runKernel, sumRows } from "../op.ts";
import { expectOperand } from "../operands.ts";
import type { GaudiMaskTables } from "./gaudi-mask.ts";
import { LIVE_PLAN, LIVE_PRODUCT, LIVE_PRODUCT_GRADIENT } from "./kernels.ts";

/** What a product with live blocks knows of one side of its matrix. */
export interface LiveSide extends GaudiMaskTables {
  /** samples beyond a window in which its mask is not negligible */
  maskMargin: number;
  /** the same of the derivatives of the mask; at least `maskMargin` */
  slopeMargin: number;
}

/** A GBLR matrix with K blocks of rank r. */
export interface LiveOperands {
  /** float32 (K, r, n_in) */
  input: Tensor;
  /** float32 (K, n_out, r) */
  output: Tensor;
  /** float32 (2, K), shares of n; row 0 is the input side */
  widths: Tensor;
  /** float32 (2, K), as `widths` */
  locations: Tensor;
  /** float32 (n_out) */
  bias?: Tensor | undefined;
  sides: { input: LiveSide; output: LiveSide };
  /** whether the tables are those without a Gaussian; entries of masks are then exactly 0 or 1 */
  boxcar: boolean;
}

/** Whether the current engine can multiply by live blocks. */
export const canMultiplyLiveBlocks = (): boolean => getKernel(LIVE_PLAN, getBackend()) !== undefined;

/**
 * How to divide a product with `rows` rows and its gradients, from the present widths and locations. The caller disposes
 * of it.
 * @returns int32 (values), undefined where the product with the dense matrix is faster, or where the engine has no other
 */
export function livePlan(
  { input, output, widths, locations, sides }: LiveOperands,
  rows: number,
): Tensor1D | undefined {
  if (!canMultiplyLiveBlocks()) return undefined;
  const [, rank, nIn] = input.shape as [number, number, number];
  const margins = (which: "maskMargin" | "slopeMargin") => [sides.input[which], sides.output[which]];
  const sizes = { rank, nIn, nOut: output.shape[1] as number, rows };
  const attributes = { ...sizes, maskMargins: margins("maskMargin"), slopeMargins: margins("slopeMargin") };
  const [plan] = runKernel(LIVE_PLAN, { widths, locations }, attributes) as [Tensor1D];
  if (plan.size > 0) return plan;
  plan.dispose();
  return undefined;
}

/**
 * y = x Wᵀ + b, differentiable in x, factors, widths, locations and bias.
 * @param x float32 (..., n_in)
 * @param plan from `livePlan`, for the same widths and locations
 * @returns float32 (..., n_out)
 * @throws ShapeError when an operand does not fit
 */
export function liveProduct(x: Tensor, operands: LiveOperands, plan: Tensor1D): Tensor {
  const { input, output, widths, locations, bias, sides, boxcar } = operands;
  expectOperand("liveProduct", { input }, { dtype: "float32", shape: ["K", "r", "n_in"] });
  const [blocks, rank, nIn] = input.shape as [number, number, number];
  expectOperand("liveProduct", { x }, { dtype: "float32", shape: ["...", nIn] });
  expectOperand("liveProduct", { output }, { dtype: "float32", shape: [blocks, "n_out", rank] });
  expectOperand("liveProduct", { widths, locations }, { dtype: "float32", shape: [2, blocks] });
  if (bias !== undefined) {
    expectOperand("liveProduct", { bias }, { dtype: "float32", shape: [output.shape[1] as number] });
  }
  const inputs: NamedTensorMap = { x, input, output, widths, locations, ...(bias && { bias }) };
  const tables = { edgesIn: sides.input.edges, edgesOut: sides.output.edges };
  const slopes = { slopesIn: sides.input.slopes, slopesOut: sides.output.slopes };
  const kept = { x, input, output, widths, locations, plan, ...tables, ...slopes };
  const more = ({ slopeMargin, maskMargin }: LiveSide) => slopeMargin - maskMargin;
  const moreMargins = [more(sides.input), more(sides.output)];
  return differentiable({
    name: "liveProduct",
    inputs,
    forward: () => {
      const [value, z] = runKernel(LIVE_PRODUCT, { ...inputs, ...tables, plan }, { boxcar }) as [Tensor, Tensor];
      return { value, saved: [z, ...Object.values(kept)] };
    },
    backward: (dy, saved, needed) => {
      const [z, ...rest] = saved as [Tensor, ...Tensor[]];
      const again: NamedTensorMap = Object.fromEntries(Object.keys(kept).map((name, i) => [name, rest[i] as Tensor]));
      const asked = {
        x: needed("x"),
        factors: needed("input") || needed("output"),
        places: needed("widths") || needed("locations"),
      };
      const gradients = Object.values(asked).includes(true)
        ? runKernel(LIVE_PRODUCT_GRADIENT, { dy, z, ...again }, { boxcar, moreMargins, ...asked })
        : [];
      const given = (at: number) => () => gradients[at] as Tensor;
      const ofMatrix = { x: given(0), input: given(1), output: given(2), widths: given(3), locations: given(4) };
      return { ...ofMatrix, bias: () => sumRows(asRows(dy)) };
    },
  });
}
