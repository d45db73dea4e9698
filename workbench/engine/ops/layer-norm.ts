// layerNorm over the last axis with gain and bias, and its gradient from the saved mean and 1/std. Ba, Kiros and
// Hinton 2016. The torch backend runs aten::native_layer_norm and its backward; the compositions serve the others.

import { add, mean, mul, rsqrt, square, sub, sum, type Tensor } from "@tensorflow/tfjs-core";
import { differentiable, runKernel } from "./differentiable.ts";
import {
  LAYER_NORM,
  LAYER_NORM_GRADIENT,
  type LayerNormAttributes,
  type LayerNormGradientInputs,
  type LayerNormInputs,
} from "./kernels.ts";
import { expectOperand, expectSetting } from "./operands.ts";
import { registerPortable } from "./register.ts";
import { asRows, sumRows } from "./rows.ts";

export interface LayerNormOptions {
  /** added to the variance; default 1e-5 */
  epsilon?: number;
}

/**
 * y = (x - mean) / √(variance + ε) · gain + bias, mean and (biased) variance over the last axis.
 * @param x float32 (..., width)
 * @param gain float32 (width)
 * @param bias float32 (width)
 * @returns float32 like x
 * @throws ShapeError when an operand does not fit
 */
export function layerNorm(x: Tensor, gain: Tensor, bias: Tensor, { epsilon = 1e-5 }: LayerNormOptions = {}): Tensor {
  expectOperand("layerNorm", { x }, { dtype: "float32", shape: ["...", "width"] });
  const width = x.shape[x.rank - 1] as number;
  expectOperand("layerNorm", { gain, bias }, { dtype: "float32", shape: [width] });
  expectSetting("layerNorm", { epsilon }, "a number of at least 0", epsilon >= 0);
  const inputs = { x, gain, bias };
  return differentiable({
    name: "layerNorm",
    inputs,
    forward: () => {
      const [value, average, inverseStd] = runKernel(LAYER_NORM, inputs, { epsilon }) as [Tensor, Tensor, Tensor];
      return { value, saved: [x, gain, bias, average, inverseStd] };
    },
    backward: (dy, saved) => {
      const [x, gain, bias, mean, inverseStd] = saved as [Tensor, Tensor, Tensor, Tensor, Tensor];
      // One kernel for all three: they share most of the work.
      const gradients = runKernel(LAYER_NORM_GRADIENT, { dy, x, gain, bias, mean, inverseStd });
      const [dx, dgain, dbias] = gradients as [Tensor, Tensor, Tensor];
      return { x: () => dx, gain: () => dgain, bias: () => dbias };
    },
  });
}

registerPortable<LayerNormInputs, LayerNormAttributes>(LAYER_NORM, ({ x, gain, bias }, { epsilon }) => {
  const average = mean(x, -1, true);
  const centerd = sub(x, average);
  const inverseStd = rsqrt(add(mean(square(centerd), -1, true), epsilon));
  return [add(mul(mul(centerd, inverseStd), gain), bias), average, inverseStd];
});

// With x̂ = (x - mean)/std and g = dy · gain: dx = (g - mean(g) - x̂ mean(g x̂)) / std, dgain = Σ dy x̂, dbias = Σ dy
registerPortable<LayerNormGradientInputs>(LAYER_NORM_GRADIENT, ({ dy, x, gain, mean: average, inverseStd }) => {
  const normalized = mul(sub(x, average), inverseStd);
  const scaled = mul(dy, gain);
  const width = x.shape[x.rank - 1] as number;
  const along = mul(sum(mul(scaled, normalized), -1, true), 1 / width);
  const residue = sub(sub(scaled, mul(sum(scaled, -1, true), 1 / width)), mul(normalized, along));
  return [mul(residue, inverseStd), sumRows(asRows(mul(dy, normalized))), sumRows(asRows(dy))];
});
