// linear: a fully connected layer with optional bias and gelu in one op, for weights stored in either layout. It saves
// x, the weight and, when there is an activation, the preactivation, but not the activation's output.

import { fused, matMul, type NamedTensorMap, reshape, type Tensor, type Tensor2D } from "@tensorflow/tfjs-core";
import { composeGelu, geluGradient } from "./gelu.ts";
import {
  type Activation,
  type GeluForm,
  LINEAR,
  type LinearAttributes,
  type LinearInputs,
  type WeightLayout,
} from "./kernels.ts";
import { asRows, differentiable, type Gradients, registerPortable, runKernel, sumRows } from "./op.ts";
import { expectOperand, expectSetting } from "./operands.ts";

/** Options of `linear`. */
export interface LinearOptions {
  /** applied to the result; `gelu` is exact, `gelu_tanh` GPT-2's approximation. Default `none` */
  activation?: Activation;
  /** `out_in`: weight (n_out, n_in) as in PyTorch's Linear; `in_out`: (n_in, n_out) as in GPT-2. Default `out_in` */
  layout?: WeightLayout;
}

const ACTIVATIONS: readonly string[] = ["none", "gelu", "gelu_tanh"];

/**
 * A fully connected layer: y = activation(x Wᵀ + b), or activation(x W + b) with `layout: "in_out"`.
 * @param x float32 (..., n_in)
 * @param weight float32 (n_out, n_in), or (n_in, n_out) with `layout: "in_out"`
 * @param bias float32 (n_out)
 * @returns float32 (..., n_out)
 * @throws ShapeError such as `linear: weight must be float32 (n_out, 48), got float32 (96, 40)`
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor, options: LinearOptions = {}): Tensor {
  const { activation = "none", layout = "out_in" } = options;
  checkLinear({ x, weight, bias }, { activation, layout });
  const inputs: NamedTensorMap = bias === undefined ? { x, weight } : { x, weight, bias };
  return differentiable({
    name: "linear",
    inputs,
    forward: (recording) => {
      const keepPreactivation = recording && activation !== "none";
      const [value, ...preactivation] = runKernel(LINEAR, inputs, { activation, layout, keepPreactivation });
      return { value: value as Tensor, saved: [x, weight, ...preactivation] };
    },
    backward: (dy, saved) => linearGradients(dy, saved, { activation, layout, inputs: Object.keys(inputs).length }),
  });
}

function checkLinear(
  { x, weight, bias }: { x: Tensor; weight: Tensor; bias: Tensor | undefined },
  { activation, layout }: Required<LinearOptions>,
): void {
  expectSetting("linear", { activation }, `"none", "gelu" or "gelu_tanh"`, ACTIVATIONS.includes(activation));
  expectSetting("linear", { layout }, `"out_in" or "in_out"`, layout === "out_in" || layout === "in_out");
  expectOperand("linear", { x }, { dtype: "float32", shape: ["...", "n_in"] });
  const nIn = x.shape[x.rank - 1] as number;
  const shape = layout === "out_in" ? ["n_out", nIn] : [nIn, "n_out"];
  expectOperand("linear", { weight }, { dtype: "float32", shape });
  if (bias !== undefined) {
    expectOperand("linear", { bias }, { dtype: "float32", shape: [outputWidth(weight, layout)] });
  }
}

function linearGradients(
  dy: Tensor,
  saved: Tensor[],
  { activation, layout, inputs }: Required<LinearOptions> & { inputs: number },
): Gradients {
  const [x, weight, preactivation] = saved as [Tensor, Tensor, Tensor?];
  const outer = preactivation === undefined ? dy : geluGradient(dy, preactivation, geluForm(activation));
  const rows = asRows(outer);
  // All gradients use the gradient of the activation, which is the largest tensor here. It is disposed of as soon as
  // all gradients have been computed.
  let pending = inputs;
  const last =
    <T>(gradient: () => T) =>
    (): T => {
      const result = gradient();
      pending -= 1;
      if (pending === 0 && outer !== dy) {
        outer.dispose();
        if (rows !== outer) {
          rows.dispose();
        }
      }
      return result;
    };
  const outIn = layout === "out_in";
  const factors = () => (outIn ? [rows, asRows(x)] : [asRows(x), rows]) as [Tensor2D, Tensor2D];
  return {
    x: last(() => reshape(matMul(rows, weight, false, !outIn), x.shape)),
    weight: Object.assign(
      last(() => matMul(...factors(), true)),
      { product: <T>(use: (left: Tensor2D, right: Tensor2D) => T): T => last(() => use(...factors()))() },
    ),
    bias: last(() => sumRows(rows)),
  };
}

const geluForm = (activation: Activation): GeluForm => (activation === "gelu_tanh" ? "tanh" : "none");

/** n_out of a weight that is stored in `layout`. */
const outputWidth = (weight: { shape: readonly number[] }, layout: WeightLayout): number =>
  weight.shape[layout === "out_in" ? 0 : 1] as number;

registerPortable<LinearInputs, LinearAttributes>(
  LINEAR,
  ({ x, weight, bias }, { activation, layout, keepPreactivation }) => {
    const shape = [...x.shape.slice(0, -1), outputWidth(weight, layout)];
    const operands = { a: asRows(x) as Tensor2D, b: weight as Tensor2D, transposeB: layout === "out_in", bias };
    const affine = reshape(fused.matMul(operands), shape);
    if (activation === "none") {
      return affine;
    }
    const y = composeGelu(affine, geluForm(activation));
    return keepPreactivation ? [y, affine] : y;
  },
);
