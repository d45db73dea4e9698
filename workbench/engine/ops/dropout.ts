// dropout with a seed. On one engine, the same seed always drops the same entries; other engines drop other entries.
// The mask is kept for the gradient and takes one byte per entry.

import { cast, mul, type Tensor, tensor } from "@tensorflow/tfjs-core";
import { bits, mixSeed } from "../core/random.ts";
import {
  DROPOUT,
  DROPOUT_GRADIENT,
  type DropoutAttributes,
  type DropoutGradientAttributes,
  type DropoutGradientInputs,
  type DropoutInputs,
} from "./kernels.ts";
import { differentiable, registerPortable, runKernel } from "./op.ts";
import { expectOperand, expectSetting } from "./operands.ts";

/** Options of `dropout`. */
export interface DropoutOptions {
  /** the probability that an entry is dropped, at least 0 and below 1 */
  rate: number;
  /** a safe integer of at least 0, different for each call in each step */
  seed: number;
}

/**
 * Drops entries at random: y = x / (1 - rate) where an entry is kept, 0 where it is dropped. The factor keeps the mean
 * unchanged. Srivastava et al. 2014.
 * @param x float32, any shape
 * @returns float32 like x
 * @throws ShapeError when x is not float32, or the rate or seed is out of range
 */
export function dropout(x: Tensor, { rate, seed }: DropoutOptions): Tensor {
  expectOperand("dropout", { x }, { dtype: "float32", shape: ["..."] });
  expectSetting("dropout", { rate }, "at least 0 and below 1", rate >= 0 && rate < 1);
  expectSetting("dropout", { seed }, "a safe integer of at least 0", Number.isSafeInteger(seed) && seed >= 0);
  return differentiable({
    name: "dropout",
    inputs: { x },
    forward: () => {
      const [value, mask] = runKernel(DROPOUT, { x }, { rate, seed }) as [Tensor, Tensor];
      return { value, saved: [mask] };
    },
    backward: (dy, [mask]) => ({
      x: () => runKernel(DROPOUT_GRADIENT, { dy, mask: mask as Tensor }, { rate })[0] as Tensor,
    }),
  });
}

function keepMask(size: number, rate: number, seed: number): Uint8Array {
  const key = mixSeed(seed);
  const dropBelow = rate * 2 ** 32;
  const mask = new Uint8Array(size);
  for (let i = 0; i < size; i++) {
    mask[i] = bits(i, key) < dropBelow ? 0 : 1;
  }
  return mask;
}

registerPortable<DropoutInputs, DropoutAttributes>(DROPOUT, ({ x }, { rate, seed }) => {
  const mask = tensor(keepMask(x.size, rate, seed), x.shape, "bool");
  return [mul(mul(x, 1 / (1 - rate)), cast(mask, "float32")), mask];
});

registerPortable<DropoutGradientInputs, DropoutGradientAttributes>(DROPOUT_GRADIENT, ({ dy, mask }, { rate }) =>
  mul(mul(dy, 1 / (1 - rate)), cast(mask, "float32")),
);
