// gaudiMask, windows on a circle of samples, each the difference of one edge function at its two ends, and its gradient
// to where they begin and how wide they are. Knows no edge function: the caller brings the tables. The torch backend
// runs one operator of the addon each way; the compositions here serve the others.

import { cast, mul, notEqual, type Tensor, type Tensor1D, type Tensor2D, tidy } from "@tensorflow/tfjs-core";
import { differentiable, runKernel } from "./differentiable.ts";
import { composeGaudiMask, composeGaudiMaskGradient } from "./gaudi-mask-composed.ts";
import { registerGaudiMaskWasm } from "./gaudi-mask-wasm.ts";
import {
  GAUDI_MASK,
  GAUDI_MASK_GRADIENT,
  type GaudiMaskAttributes,
  type GaudiMaskGradientInputs,
  type GaudiMaskInputs,
} from "./kernels.ts";
import { expectOperand } from "./operands.ts";
import { registerPortable } from "./register.ts";

export interface GaudiMaskTables {
  /** float32 (1, n), S(j + ½) */
  edges: Tensor2D;
  /** float32 (1, n), h(j) = 1 + n S'(j + ½) */
  slopes: Tensor2D;
}

export interface GaudiMaskOptions {
  /** the edges are those of an exact 0/1 window. Default false */
  boxcar?: boolean;
  /** windows of one sample or none are empty, entries below 1e-3 in size are 0. Default false */
  evaluate?: boolean;
}

/**
 * mask[k, j] = w + S(j + ½ - l n) - S(j + ½ - (l + w) n) of the edge function S that the tables hold, w n and l n rounded
 * to whole samples, half to even; gradients pass the rounding unchanged.
 * @param widths float32 (K), as shares of n
 * @param locations float32 (K), as shares of n; the mask is cyclic in them
 * @returns float32 (K, n)
 * @throws ShapeError when an operand does not fit
 */
export function gaudiMask(
  widths: Tensor1D,
  locations: Tensor1D,
  { edges, slopes }: GaudiMaskTables,
  { boxcar = false, evaluate = false }: GaudiMaskOptions = {},
): Tensor2D {
  expectOperand("gaudiMask", { widths }, { dtype: "float32", shape: ["K"] });
  expectOperand("gaudiMask", { locations }, { dtype: "float32", shape: widths.shape });
  expectOperand("gaudiMask", { edges }, { dtype: "float32", shape: [1, "n"] });
  expectOperand("gaudiMask", { slopes }, { dtype: "float32", shape: edges.shape });
  return differentiable({
    name: "gaudiMask",
    inputs: { widths, locations },
    forward: (recording) => {
      const [mask] = runKernel(GAUDI_MASK, { widths, locations, edges }, { boxcar, evaluate }) as [Tensor];
      return { value: mask, saved: recording ? [widths, locations, slopes, ...(evaluate ? [mask] : [])] : [] };
    },
    backward: (dy, saved) => {
      const [widths, locations, slopes, mask] = saved as [Tensor, Tensor, Tensor, Tensor?];
      // One kernel for both: they read the same rows.
      const gradients = tidy(() => {
        // Entries that evaluation made 0 stay 0 under small changes.
        const outer = mask === undefined ? dy : mul(dy, cast(notEqual(mask, 0), "float32"));
        return runKernel(GAUDI_MASK_GRADIENT, { dy: outer, widths, locations, slopes });
      }) as [Tensor, Tensor];
      return { widths: () => gradients[0], locations: () => gradients[1] };
    },
  }) as Tensor2D;
}

registerPortable<GaudiMaskInputs, GaudiMaskAttributes>(GAUDI_MASK, (inputs, attributes) =>
  composeGaudiMask(inputs, attributes),
);
registerPortable<GaudiMaskGradientInputs>(GAUDI_MASK_GRADIENT, (inputs) => composeGaudiMaskGradient(inputs));
registerGaudiMaskWasm();
