// Layer and batch normalization by the names of their parameters. In training, batch normalization uses the statistics
// of the batch and updates the running ones; in evaluation it uses the running ones (Ioffe and Szegedy 2015).

import { add, mul, rsqrt, sub, type Tensor, tidy } from "@tensorflow/tfjs-core";
import { batchNorm, layerNorm } from "../../engine/ops/index.ts";
import type { LayerSource } from "../task.ts";

/** ε of batch normalizations, PyTorch's default. */
const EPSILON = 1e-5;
/** Weight of a batch's statistics in the update of the running statistics, PyTorch's default. */
const MOMENTUM = 0.1;

/**
 * Applies a layer normalization.
 * @param name prefix of the parameters `weight` and `bias`
 * @param x float32 (…, n)
 */
export const normalizeLayer = (
  model: Pick<LayerSource, "parameter">,
  name: string,
  { x, epsilon }: { x: Tensor; epsilon: number },
): Tensor => layerNorm(x, model.parameter(`${name}.weight`), model.parameter(`${name}.bias`), { epsilon });

/**
 * Applies a batch normalization. In training it also updates the running statistics.
 * @param name prefix of the parameters `weight` and `bias` and the buffers `running_mean` and `running_var`
 * @param x float32 (…, channels)
 */
export function normalizeBatch(
  model: Pick<LayerSource, "parameter">,
  name: string,
  { x, training }: { x: Tensor; training: boolean },
): Tensor {
  const [gain, bias] = [model.parameter(`${name}.weight`), model.parameter(`${name}.bias`)];
  const running = [model.parameter(`${name}.running_mean`), model.parameter(`${name}.running_var`)] as const;
  if (!training) {
    return tidy(() => {
      const scale = mul(gain, rsqrt(add(running[1], EPSILON)));
      return add(mul(x, scale), sub(bias, mul(running[0], scale)));
    });
  }
  return batchNorm(x, gain, bias, {
    epsilon: EPSILON,
    // As in PyTorch, each forward pass updates the running statistics, with the unbiased variance.
    onStatistics: ({ mean, variance, count }) => {
      const unbiased = mul(variance, count / Math.max(1, count - 1));
      for (const [i, seen] of [mean, unbiased].entries()) {
        const variable = running[i] as (typeof running)[number];
        variable.assign(add(mul(variable, 1 - MOMENTUM), mul(seen, MOMENTUM)));
      }
    },
  });
}
