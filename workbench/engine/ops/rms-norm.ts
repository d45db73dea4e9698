// rmsNorm over the last axis, with gradients (Zhang and Sennrich 2019). It saves 1/rms of each row. The torch backend
// computes it in one pass on the CPU.

import { add, mean, mul, rsqrt, square, sub, type Tensor } from "@tensorflow/tfjs-core";
import {
  RMS_NORM,
  RMS_NORM_GRADIENT,
  type RmsNormAttributes,
  type RmsNormGradientInputs,
  type RmsNormInputs,
} from "./kernels.ts";
import { asRows, differentiable, registerPortable, runKernel, sumRows } from "./op.ts";
import { expectOperand, expectSetting } from "./operands.ts";

/** Options of `rmsNorm`. */
export interface RmsNormOptions {
  /** added to the mean square; default 1e-6 */
  epsilon?: number;
}

/**
 * Root mean square normalization: y = x / √(mean(x²) + ε) · gain, with the mean over the last axis.
 * @param x float32 (..., width)
 * @param gain float32 (width)
 * @returns float32 like x
 * @throws ShapeError such as `rmsNorm: gain must be float32 (576), got float32 (64)`
 */
export function rmsNorm(x: Tensor, gain: Tensor, { epsilon = 1e-6 }: RmsNormOptions = {}): Tensor {
  expectOperand("rmsNorm", { x }, { dtype: "float32", shape: ["...", "width"] });
  const width = x.shape[x.rank - 1] as number;
  expectOperand("rmsNorm", { gain }, { dtype: "float32", shape: [width] });
  expectSetting("rmsNorm", { epsilon }, "a number of at least 0", epsilon >= 0);
  const inputs = { x, gain };
  return differentiable({
    name: "rmsNorm",
    inputs,
    forward: () => {
      const [value, inverseRms] = runKernel(RMS_NORM, inputs, { epsilon }) as [Tensor, Tensor];
      return { value, saved: [x, gain, inverseRms] };
    },
    backward: (dy, saved) => {
      const [x, gain, inverseRms] = saved as [Tensor, Tensor, Tensor];
      // One kernel computes both gradients, because they share most of the work.
      const [dx, dgain] = runKernel(RMS_NORM_GRADIENT, { dy, x, gain, inverseRms }) as [Tensor, Tensor];
      return { x: () => dx, gain: () => dgain };
    },
  });
}

registerPortable<RmsNormInputs, RmsNormAttributes>(RMS_NORM, ({ x, gain }, { epsilon }) => {
  const inverseRms = rsqrt(add(mean(square(x), -1, true), epsilon));
  return [mul(mul(x, inverseRms), gain), inverseRms];
});

// With x̂ = x/rms and g = dy · gain: dx = (g - x̂ mean(g x̂)) / rms, dgain = Σ dy x̂
registerPortable<RmsNormGradientInputs>(RMS_NORM_GRADIENT, ({ dy, x, gain, inverseRms }) => {
  const normalized = mul(x, inverseRms);
  const scaled = mul(dy, gain);
  const residue = sub(scaled, mul(normalized, mean(mul(scaled, normalized), -1, true)));
  return [mul(residue, inverseRms), sumRows(asRows(mul(dy, normalized)))];
});
