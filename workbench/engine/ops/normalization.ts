// layerNorm over the last axis and batchNorm over all others, with gradients. layerNorm saves the mean and 1/std of
// each row; the torch backend runs aten::native_layer_norm and its backward (Ba, Kiros and Hinton 2016). batchNorm uses
// the statistics of the batch and is composed of tf.* operations on every backend; it saves x and two numbers for each
// channel, and the caller keeps running statistics (Ioffe and Szegedy 2015).

import { add, mean, mul, reshape, rsqrt, square, sub, sum, type Tensor, tidy } from "@tensorflow/tfjs-core";
import {
  LAYER_NORM,
  LAYER_NORM_GRADIENT,
  type LayerNormAttributes,
  type LayerNormGradientInputs,
  type LayerNormInputs,
} from "./kernels.ts";
import { asRows, differentiable, registerPortable, runKernel, sumRows } from "./op.ts";
import { expectOperand, expectSetting } from "./operands.ts";

/** Options of `layerNorm`. */
export interface LayerNormOptions {
  /** added to the variance; default 1e-5 */
  epsilon?: number;
}

/**
 * Layer normalization: y = (x - mean) / √(variance + ε) · gain + bias, with mean and biased variance over the last axis.
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
      // One kernel computes all three gradients, because they share most of the work.
      const gradients = runKernel(LAYER_NORM_GRADIENT, { dy, x, gain, bias, mean, inverseStd });
      const [dx, dgain, dbias] = gradients as [Tensor, Tensor, Tensor];
      return { x: () => dx, gain: () => dgain, bias: () => dbias };
    },
  });
}

registerPortable<LayerNormInputs, LayerNormAttributes>(LAYER_NORM, ({ x, gain, bias }, { epsilon }) => {
  const average = mean(x, -1, true);
  const centered = sub(x, average);
  const inverseStd = rsqrt(add(mean(square(centered), -1, true), epsilon));
  return [add(mul(mul(centered, inverseStd), gain), bias), average, inverseStd];
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

/** Mean and variance of each channel, as batch normalization uses and updates them. */
export interface BatchStatistics {
  /** float32 (channels). Mean and variance are disposed of after the call */
  mean: Tensor;
  /** the biased variance, float32 (channels) */
  variance: Tensor;
  /** number of entries of each channel */
  count: number;
}

/** Options of `batchNorm`. */
export interface BatchNormOptions {
  /** added to the variance; default 1e-5 */
  epsilon?: number;
  /** called with the statistics in each forward pass, off the gradient tape */
  onStatistics?: (statistics: BatchStatistics) => void;
}

/**
 * Batch normalization: y = (x - mean) / √(variance + ε) · gain + bias, with mean and biased variance over all axes but
 * the last.
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
          const centered = sub(add(dRows, shift), mul(rows, slope));
          return reshape(mul(centered, scale), x.shape);
        },
        gain: () => dGain.clone(),
        bias: () => dBias.clone(),
      };
    },
  });
}
