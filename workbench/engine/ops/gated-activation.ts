// gatedActivation: the product of an activated gate and a second projection (Shazeer 2020), with gradients. It saves
// its operands only.

import { add, mul, sigmoid, sub, type Tensor } from "@tensorflow/tfjs-core";
import { composeGelu, composeGeluGradient } from "./gelu.ts";
import {
  GATED_ACTIVATION,
  GATED_ACTIVATION_GRADIENT,
  type GateActivation,
  type GatedActivationAttributes,
  type GatedActivationGradientInputs,
  type GatedActivationInputs,
} from "./kernels.ts";
import { differentiable, registerPortable, runKernel } from "./op.ts";
import { expectOperand, expectSetting } from "./operands.ts";

const ACTIVATIONS: readonly string[] = ["silu", "gelu_tanh"];

/**
 * A gated linear unit without its projections: y = activation(gate) · up. silu(g) = g / (1 + e^-g) makes it SwiGLU,
 * gelu_tanh GeGLU.
 * @param gate float32, any shape
 * @param up float32, the shape of gate
 * @param activation `silu` or `gelu_tanh`
 * @returns float32 like gate
 * @throws ShapeError such as `gatedActivation: up must be float32 (2, 96), got float32 (2, 48)`
 */
export function gatedActivation(gate: Tensor, up: Tensor, activation: GateActivation): Tensor {
  expectOperand("gatedActivation", { gate }, { dtype: "float32", shape: ["..."] });
  expectOperand("gatedActivation", { up }, { dtype: "float32", shape: gate.shape });
  expectSetting("gatedActivation", { activation }, `"silu" or "gelu_tanh"`, ACTIVATIONS.includes(activation));
  const inputs = { gate, up };
  return differentiable({
    name: "gatedActivation",
    inputs,
    forward: () => ({ value: runKernel(GATED_ACTIVATION, inputs, { activation })[0] as Tensor, saved: [gate, up] }),
    backward: (dy, saved) => {
      const [gate, up] = saved as [Tensor, Tensor];
      const [dgate, dup] = runKernel(GATED_ACTIVATION_GRADIENT, { dy, gate, up }, { activation }) as [Tensor, Tensor];
      return { gate: () => dgate, up: () => dup };
    },
  });
}

registerPortable<GatedActivationInputs, GatedActivationAttributes>(GATED_ACTIVATION, ({ gate, up }, { activation }) =>
  mul(activation === "silu" ? mul(gate, sigmoid(gate)) : composeGelu(gate, "tanh"), up),
);

// With s = sigmoid(g): silu'(g) = s (1 + g (1 - s))
registerPortable<GatedActivationGradientInputs, GatedActivationAttributes>(
  GATED_ACTIVATION_GRADIENT,
  ({ dy, gate, up }, { activation }) => {
    const outer = mul(dy, up);
    if (activation === "gelu_tanh") {
      return [composeGeluGradient(outer, gate, "tanh"), mul(dy, composeGelu(gate, "tanh"))];
    }
    const s = sigmoid(gate);
    const activated = mul(gate, s);
    return [mul(outer, add(s, mul(activated, sub(1, s)))), mul(dy, activated)];
  },
);
