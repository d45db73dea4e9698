// rotary: rotates pairs of components of queries and keys by angles that depend on the position (Su et al. 2021). The
// op gets cosines and sines, so that the caller chooses the frequencies. The gradient is the rotation by the opposite
// angles; it needs neither x nor y.

import { add, concat, mul, slice, sub, type Tensor } from "@tensorflow/tfjs-core";
import { ROTARY, type RotaryAttributes, type RotaryInputs } from "./kernels.ts";
import { differentiable, registerPortable, runKernel } from "./op.ts";
import { expectOperand, expectSetting } from "./operands.ts";

/**
 * Rotary position embedding of the first r components, r = 2 · the width of `cos`: for i < r/2,
 *
 *     y[i] = x[i] cos[i] - x[i + r/2] sin[i]
 *     y[i + r/2] = x[i + r/2] cos[i] + x[i] sin[i]
 *
 * Component i is paired with i + r/2, as Hugging Face stores weights. Components from r on are unchanged. Gradients do
 * not flow to `cos` and `sin`.
 * @param x float32 (batch, heads, tokens, head_dim)
 * @param cos float32 (tokens, r/2), the cosine of each token's angles, with r ≤ head_dim
 * @param sin float32 (tokens, r/2), their sine
 * @returns float32 like x
 * @throws ShapeError such as `rotary: cos must be float32 (5, r/2), got float32 (4, 32)`
 */
export function rotary(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
  expectOperand("rotary", { x }, { dtype: "float32", shape: ["batch", "heads", "tokens", "head_dim"] });
  const [, , tokens, headDim] = x.shape as [number, number, number, number];
  expectOperand("rotary", { cos }, { dtype: "float32", shape: [tokens, "r/2"] });
  const half = cos.shape[1] as number;
  expectOperand("rotary", { sin }, { dtype: "float32", shape: [tokens, half] });
  const most = Math.floor(headDim / 2);
  expectSetting("rotary", { "the width of cos": half }, `at most half of head_dim, ${most}`, half <= most);
  return differentiable({
    name: "rotary",
    inputs: { x },
    forward: () => ({ value: runKernel(ROTARY, { x, cos, sin }, { inverse: false })[0] as Tensor, saved: [cos, sin] }),
    backward: (dy, saved) => {
      const [cos, sin] = saved as [Tensor, Tensor];
      return { x: () => runKernel(ROTARY, { x: dy, cos, sin }, { inverse: true })[0] as Tensor };
    },
  });
}

registerPortable<RotaryInputs, RotaryAttributes>(ROTARY, ({ x, cos, sin }, { inverse }) => {
  const [batch, heads, tokens, headDim] = x.shape as [number, number, number, number];
  const half = cos.shape[1] as number;
  const components = (start: number, count: number) => slice(x, [0, 0, 0, start], [batch, heads, tokens, count]);
  const [first, second] = [components(0, half), components(half, half)];
  const [alongFirst, alongSecond] = [mul(first, sin), mul(second, sin)];
  const rotated = inverse
    ? [add(mul(first, cos), alongSecond), sub(mul(second, cos), alongFirst)]
    : [sub(mul(first, cos), alongSecond), add(mul(second, cos), alongFirst)];
  const rest = headDim > 2 * half ? [components(2 * half, headDim - 2 * half)] : [];
  return concat([...rotated, ...rest], 3);
});
