// The mean width, by which shrink rules know how far they are. Computed on the device; nothing is read here.

import { greater, mean, mul, type Scalar, slice, stack, type Tensor, tidy } from "@tensorflow/tfjs-core";
import { expectSetting } from "../../engine/ops/operands.ts";

/**
 * μ = mean over layers of mean over (2, K) of width · [both widths of the block have one sign and neither is 0].
 * Layers count alike, whatever their K. The condition is the reference implementation's, which tests the product of a
 * pair: right after an optimizer step two negative widths count as live.
 * @returns float32 scalar, the caller's to dispose
 * @throws ShapeError when there is no layer
 */
export function meanWidth(layers: readonly { widths: Tensor }[]): Scalar {
  expectSetting("meanWidth", { layers: layers.length }, "at least one", layers.length > 0);
  return tidy("meanWidth", () => mean(stack(layers.map(({ widths }) => meanOfLive(widths)))));
}

function meanOfLive(widths: Tensor): Scalar {
  const [side, blocks] = [1, widths.shape[1] as number];
  const pairs = mul(slice(widths, [0, 0], [side, blocks]), slice(widths, [1, 0], [side, blocks]));
  return mean(mul(widths, greater(pairs, 0)));
}
