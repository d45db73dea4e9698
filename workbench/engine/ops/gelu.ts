// gelu, the Gaussian error linear unit, exact and in its tanh form, with its gradient. Hendrycks and Gimpel 2016.
// The torch backend has its own kernels; the compositions here serve the other backends, alone and within `linear`.

import { add, erf, exp, mul, sigmoid, square, sub, type Tensor } from "@tensorflow/tfjs-core";
import {
  GELU,
  GELU_GRADIENT,
  type GeluAttributes,
  type GeluForm,
  type GeluGradientInputs,
  type GeluInputs,
} from "./kernels.ts";
import { differentiable, registerPortable, runKernel } from "./op.ts";
import { expectOperand, expectSetting } from "./operands.ts";

/** Options of `gelu`. */
export interface GeluOptions {
  /** `none`: exact, by the error function; `tanh`: the approximation of GPT-2. Default `none` */
  approximate?: GeluForm;
}

/**
 * gelu(x) = x Φ(x), Φ the normal distribution function: x (1 + erf(x/√2)) / 2,
 * or with `approximate: "tanh"` x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2.
 * @param x float32, any shape
 * @returns float32 like x
 * @throws ShapeError when x is not float32
 */
export function gelu(x: Tensor, { approximate = "none" }: GeluOptions = {}): Tensor {
  expectOperand("gelu", { x }, { dtype: "float32", shape: ["..."] });
  expectSetting("gelu", { approximate }, `"none" or "tanh"`, approximate === "none" || approximate === "tanh");
  return differentiable({
    name: "gelu",
    inputs: { x },
    forward: () => ({ value: runKernel(GELU, { x }, { approximate })[0] as Tensor, saved: [x] }),
    backward: (dy, [saved]) => ({ x: () => geluGradient(dy, saved as Tensor, approximate) }),
  });
}

/** The gradient of gelu, dy · gelu'(x). Both operands have the same shape. */
export function geluGradient(dy: Tensor, x: Tensor, approximate: GeluForm): Tensor {
  return runKernel(GELU_GRADIENT, { dy, x }, { approximate })[0] as Tensor;
}

const CUBIC = 0.044715;
const TANH_SCALE = Math.sqrt(2 / Math.PI);

function normalDistribution(x: Tensor, form: GeluForm): Tensor {
  if (form === "tanh") {
    // sigmoid(2 u) = (1 + tanh u) / 2 is a single kernel, which on wasm takes a tenth of the time of tanh.
    return sigmoid(mul(tanhArgument(x), 2));
  }
  return mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5);
}

// √(2/π) (x + c x³)
function tanhArgument(x: Tensor): Tensor {
  return mul(x, add(mul(square(x), TANH_SCALE * CUBIC), TANH_SCALE));
}

/** gelu as a composition of tf.* operations. The caller's tidy disposes of intermediate tensors. */
export function composeGelu(x: Tensor, form: GeluForm): Tensor {
  return mul(x, normalDistribution(x, form));
}

// d/dx of the distribution function: φ(x) = exp(-x²/2) / √(2π), or half the derivative of tanh by the chain rule.
function density(x: Tensor, distribution: Tensor, form: GeluForm): Tensor {
  if (form === "none") {
    return mul(exp(mul(square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  }
  // With P = (1 + tanh u) / 2: P' = (1 - tanh² u) u' / 2 = 2 P (1 - P) u'
  const slope = add(mul(square(x), 3 * TANH_SCALE * CUBIC), TANH_SCALE);
  return mul(mul(mul(distribution, sub(1, distribution)), 2), slope);
}

registerPortable<GeluInputs, GeluAttributes>(GELU, ({ x }, { approximate }) => composeGelu(x, approximate));

/** The gradient of gelu, dy · gelu'(x), as a composition. The caller's tidy disposes of intermediate tensors. */
export function composeGeluGradient(dy: Tensor, x: Tensor, form: GeluForm): Tensor {
  const distribution = normalDistribution(x, form);
  return mul(dy, add(distribution, mul(x, density(x, distribution, form))));
}

registerPortable<GeluGradientInputs, GeluAttributes>(GELU_GRADIENT, ({ dy, x }, { approximate }) =>
  composeGeluGradient(dy, x, approximate),
);
