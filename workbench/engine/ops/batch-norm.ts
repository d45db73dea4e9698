// batchNorm by the statistics of the batch, with its gradient. Ioffe and Szegedy 2015. Composed of tfjs ops on every
// engine; saves x and two numbers a channel, no normalized copy. Running statistics are the caller's.

import { add, mean, mul, reshape, rsqrt, square, sub, sum, type Tensor, tidy } from "@tensorflow/tfjs-core";
import { differentiable } from "./differentiable.ts";
import { expectOperand, expectSetting } from "./operands.ts";
import { asRows } from "./rows.ts";

export interface BatchStatistics {
  /** float32 (channels); both are disposed afterwards */
  mean: Tensor;
  /** biased */
  variance: Tensor;
  /** entries of each channel */
  count: number;
}

export interface BatchNormOptions {
  /** added to the variance; default 1e-5 */
  epsilon?: number;
  /** sees the statistics in each forward pass, off the gradient tape */
  onStatistics?: (statistics: BatchStatistics) => void;
}

/**
 * y = (x - mean) / √(variance + ε) · gain + bias, mean and (biased) variance over all axes but the last.
 * @param x float32 (..., channels)
 * @param gain float32 (channels)
 * @param bias float32 (channels)
 * @returns float32 like x
 * @throws ShapeError when an operand does not fit
 */
export function batchNorm(
  x: Tensor,
  gain: Tensor,
  bias: Tensor,
  { epsilon = 1e-5, onStatistics }: BatchNormOptions = {},
): Tensor {
  expectOperand("batchNorm", { x }, { dtype: "float32", shape: ["...", "channels"] });
  const channels = x.shape[x.rank - 1] as number;
  expectOperand("batchNorm", { gain, bias }, { dtype: "float32", shape: [channels] });
  expectSetting("batchNorm", { epsilon }, "a number of at least 0", epsilon >= 0);
  const count = x.size / channels;
  return differentiable({
    name: "batchNorm",
    inputs: { x, gain, bias },
    forward: () => {
      const rows = asRows(x);
      const average = mean(rows, 0);
      const variance = tidy(() => mean(square(sub(rows, average)), 0));
      tidy(() => onStatistics?.({ mean: average, variance, count }));
      const inverseStd = rsqrt(add(variance, epsilon));
      const value = tidy(() => {
        const scale = mul(gain, inverseStd);
        return reshape(add(mul(rows, scale), sub(bias, mul(average, scale))), x.shape);
      });
      return { value, saved: [x, gain, average, inverseStd] };
    },
    backward: (dy, saved) => {
      const [x, gain, average, inverseStd] = saved as [Tensor, Tensor, Tensor, Tensor];
      const [rows, dRows] = [asRows(x), asRows(dy)];
      // With x̂ = (x - mean)/std: dgain = Σ dy x̂, dbias = Σ dy, dx = (dy - dbias/n - x̂ dgain/n) · gain/std
      const dBias = sum(dRows, 0);
      const dGain = tidy(() => mul(sub(sum(mul(dRows, rows), 0), mul(dBias, average)), inverseStd));
      return {
        x: () => {
          const scale = mul(gain, inverseStd);
          const slope = mul(mul(dGain, inverseStd), 1 / count);
          const shift = sub(mul(slope, average), mul(dBias, 1 / count));
          const centerd = sub(add(dRows, shift), mul(rows, slope));
          return reshape(mul(centerd, scale), x.shape);
        },
        gain: () => dGain.clone(),
        bias: () => dBias.clone(),
      };
    },
  });
}
