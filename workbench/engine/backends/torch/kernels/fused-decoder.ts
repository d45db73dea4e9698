// Kernels of the layers of Llama-family models: rmsNorm, rotary and gatedActivation, forward and backward. On the CPU in
// float32 each is an operator of the addon (native/layers/), otherwise a composition of ATen operators. ops/kernels.ts
// lists what each returns.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import * as names from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import { fusedKernel, half, type KernelTable, single } from "../register.ts";

const reshape = aten("reshape");
const narrow = aten("narrow");
const concatenate = aten("cat");
const multiply = aten("mul", "Tensor");
const multiplyInPlace = aten("mul_", "Tensor");
const square = aten("square");
const mean = aten("mean", "dim");
const sum = aten("sum", "dim_IntList");
const addInPlace = aten("add_", "Scalar");
const addProductInPlace = aten("addcmul_");
const rsqrtInPlace = aten("rsqrt_");
const negative = aten("neg");
const silu = aten("silu");
const siluBackward = aten("silu_backward");
const gelu = aten("gelu");
const geluBackward = aten("gelu_backward");
const nativeRmsNorm = aten<Handle[]>("rms_norm", "", "gblr");
const nativeRmsNormBackward = aten<Handle[]>("rms_norm_backward", "", "gblr");
const nativeRotary = aten("rotary", "", "gblr");
const nativeGatedActivation = aten("gated_activation", "", "gblr");
const nativeGatedActivationBackward = aten<Handle[]>("gated_activation_backward", "", "gblr");

/** Whether the addon's operators accept the operands: all are float32 on the CPU. */
const isInAddon = (backend: TorchBackend): boolean => backend.device === "cpu" && !backend.mixed;

function rmsNorm(x: TensorInfo | Handle, gain: TensorInfo, epsilon: number): Handle[] {
  const inverseRms = mean(square(x), [-1], true);
  addInPlace(inverseRms, epsilon);
  rsqrtInPlace(inverseRms);
  const y = multiply(x, inverseRms);
  multiplyInPlace(y, gain);
  return [y, inverseRms];
}

// With x̂ = x/rms and g = dy · gain: dx = (g - x̂ mean(g x̂)) / rms, dgain = Σ dy x̂
function rmsNormBackward(inputs: names.RmsNormGradientInputs, backend: TorchBackend): Handle[] {
  const { gain, inverseRms } = inputs;
  const width = gain.shape[0] as number;
  const dy = single(inputs.dy, backend);
  const normalized = multiply(single(inputs.x, backend), inverseRms);
  const product = multiply(dy, normalized);
  const dgain = sum(reshape(product, [inputs.x.shape.slice(0, -1).reduce((a, b) => a * b, 1), width]), [0]);
  const dx = multiply(dy, gain);
  multiplyInPlace(product, gain);
  addProductInPlace(dx, normalized, mean(product, [-1], true), -1);
  multiplyInPlace(dx, inverseRms);
  return [dx, dgain];
}

function rotary({ x, cos, sin }: names.RotaryInputs, inverse: boolean, backend: TorchBackend): Handle {
  const headDim = x.shape[3] as number;
  const width = cos.shape[1] as number;
  const [first, second] = [narrow(x, 3, 0, width), narrow(x, 3, width, width)];
  const sines = inverse ? negative(sin) : sin;
  // In float32 even where x is held as bfloat16, because cos and sin are.
  const [left, right] = [multiply(first, cos), multiply(second, cos)];
  addProductInPlace(left, single(second, backend), sines, -1);
  addProductInPlace(right, single(first, backend), sines);
  const rest = headDim > 2 * width ? [single(narrow(x, 3, 2 * width, headDim - 2 * width), backend)] : [];
  return half(concatenate([left, right, ...rest], 3), backend);
}

const activated = (gate: TensorInfo, activation: names.GateActivation): Handle =>
  activation === "silu" ? silu(gate) : gelu(gate, "tanh");

const activatedBackward = (dy: Handle, gate: TensorInfo, activation: names.GateActivation): Handle =>
  activation === "silu" ? siluBackward(dy, gate) : geluBackward(dy, gate, "tanh");

/** rmsNorm, rotary and gatedActivation, with gradients. */
export const fusedDecoder: KernelTable = {
  [names.RMS_NORM]: fusedKernel<names.RmsNormInputs, names.RmsNormAttributes>(({ x, gain }, { epsilon }, backend) =>
    isInAddon(backend) ? nativeRmsNorm(x, gain, epsilon) : rmsNorm(single(x, backend), gain, epsilon),
  ),
  [names.RMS_NORM_GRADIENT]: fusedKernel<names.RmsNormGradientInputs>((inputs, _, backend) => {
    const { dy, x, gain, inverseRms } = inputs;
    return isInAddon(backend) ? nativeRmsNormBackward(dy, x, gain, inverseRms) : rmsNormBackward(inputs, backend);
  }),

  [names.ROTARY]: fusedKernel<names.RotaryInputs, names.RotaryAttributes>((inputs, { inverse }, backend) => {
    const { x, cos, sin } = inputs;
    return isInAddon(backend) ? nativeRotary(x, cos, sin, inverse) : rotary(inputs, inverse, backend);
  }),

  [names.GATED_ACTIVATION]: fusedKernel<names.GatedActivationInputs, names.GatedActivationAttributes>(
    ({ gate, up }, { activation }, backend) =>
      isInAddon(backend)
        ? nativeGatedActivation(gate, up, activation === "gelu_tanh")
        : multiply(activated(gate, activation), up),
  ),
  [names.GATED_ACTIVATION_GRADIENT]: fusedKernel<names.GatedActivationGradientInputs, names.GatedActivationAttributes>(
    ({ dy, gate, up }, { activation }, backend) =>
      isInAddon(backend)
        ? nativeGatedActivationBackward(dy, gate, up, activation === "gelu_tanh")
        : [activatedBackward(multiply(dy, up), gate, activation), multiply(dy, activated(gate, activation))],
  ),
};
