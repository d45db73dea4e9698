// The negative log-likelihood of tokens under GPT-2: its mean over windows for training, token by token for evaluation.
// Neither keeps the logits, the largest tensor of all: linearCrossEntropy makes them some rows at a time.

import { reshape, type Scalar, slice, type Tensor1D, type Tensor2D, tidy } from "@tensorflow/tfjs-core";
import { linearCrossEntropy, linearNll } from "../../engine/ops/index.ts";
import { expectOperand } from "../../engine/ops/operands.ts";
import { type Gpt2, type Gpt2Options, gpt2Hidden, headOf } from "../gpt2/forward.ts";

export type Gpt2LossOptions = Pick<Gpt2Options, "dropoutSeed">;

/**
 * Mean of -log p(token | those before it), natural logarithm, over all targets of all windows. Differentiable.
 * @param windows int32 (batch, context + 1): inputs are all but the last token, targets all but the first
 * @throws ShapeError when the context is longer than the model's positions
 */
export function gpt2Loss(model: Gpt2, windows: Tensor2D, options: Gpt2LossOptions = {}): Scalar {
  return tidy(() => {
    const { rows, targets } = shifted(model, windows, options);
    return linearCrossEntropy(rows, headOf(model), targets);
  });
}

/** The same for each target, without a gradient: float32 (batch, context). */
export function gpt2Nll(model: Gpt2, windows: Tensor2D): Tensor2D {
  return tidy(() => {
    const { rows, targets } = shifted(model, windows, {});
    return reshape(linearNll(rows, headOf(model), targets), [windows.shape[0], -1]);
  });
}

/** What the head is applied to, a row a target: (rows, n), and the targets (rows). */
function shifted(model: Gpt2, windows: Tensor2D, options: Gpt2LossOptions): { rows: Tensor2D; targets: Tensor1D } {
  expectOperand("gpt2", { windows }, { dtype: "int32", shape: ["batch", "context + 1"] });
  const [batch, length] = windows.shape;
  const context = length - 1;
  const inputs = slice(windows, [0, 0], [batch, context]);
  const targets = slice(windows, [0, 1], [batch, context]);
  const hidden = gpt2Hidden(model, inputs, options);
  return {
    rows: reshape(hidden, [batch * context, model.config.width]),
    targets: reshape(targets, [batch * context]),
  };
}
