// gblrWeight, the matrix that masked factors make: one product, and two for its gradient. On torch's CPU, rows that masks
// have emptied take no part in any of them; elsewhere they are multiplied like the others.

import { matMul, type Tensor, type Tensor2D } from "@tensorflow/tfjs-core";
import { differentiable, runKernel } from "./differentiable.ts";
import { GBLR_WEIGHT, GBLR_WEIGHT_GRADIENT, type GblrWeightGradientInputs, type GblrWeightInputs } from "./kernels.ts";
import { expectOperand } from "./operands.ts";
import { registerPortable } from "./register.ts";

/**
 * W = Σ_k output_k input_kᵀ.
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
