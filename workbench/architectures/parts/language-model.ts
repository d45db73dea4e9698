// Logits and losses of language models of any architecture: the mean negative log-likelihood for training, and that of
// each token for evaluation. Losses do not hold the logits, the largest tensor of all, in memory: linearCrossEntropy
// computes them some rows at a time.

import { reshape, type Scalar, slice, type Tensor1D, type Tensor2D, type Tensor3D, tidy } from "@tensorflow/tfjs-core";
import { linear, linearCrossEntropy, linearNll } from "../../engine/ops/index.ts";
import { expectOperand } from "../../engine/ops/operands.ts";
import { type LanguageOptions, type LanguageSizes, type LayerSource, languageTaskOf } from "../task.ts";

/**
 * The sizes of a language model.
 * @throws EngineError when the model reads no text
 */
export const languageSizes = (model: Pick<LayerSource, "architecture" | "config">): LanguageSizes =>
  languageTaskOf(model).sizes(model.config);

/**
 * The hidden states that the head is applied to.
 * @param ids int32 (batch, tokens)
 * @returns float32 (batch, tokens, n)
 * @throws ShapeError when there are more tokens than positions; EngineError when the model reads no text
 */
export const languageHidden = (model: LayerSource, ids: Tensor2D, options: LanguageOptions = {}): Tensor3D =>
  languageTaskOf(model).hidden(model, ids, options);

/** The output head's weight, (vocabulary, n). */
export const headOf = (model: LayerSource): Tensor2D => languageTaskOf(model).head(model);

/**
 * The logits of a language model for the next token at every position.
 * @param ids int32 (batch, tokens)
 * @returns logits, float32 (batch, tokens, vocabulary)
 * @throws ShapeError when there are more tokens than positions; EngineError when the model reads no text
 * @public
 */
export const languageLogits = (model: LayerSource, ids: Tensor2D, options: LanguageOptions = {}): Tensor3D =>
  tidy(() => linear(languageHidden(model, ids, options), headOf(model)) as Tensor3D);

export type LanguageLossOptions = Pick<LanguageOptions, "dropoutSeed">;

/**
 * Mean of -log p(token | those before it), natural logarithm, over all targets of all windows. Differentiable.
 * @param windows int32 (batch, context + 1): inputs are all but the last token, targets all but the first
 * @throws ShapeError when the context is longer than the model's positions
 */
export function languageLoss(model: LayerSource, windows: Tensor2D, options: LanguageLossOptions = {}): Scalar {
  return tidy(() => {
    const { rows, targets } = shifted(model, windows, options);
    return linearCrossEntropy(rows, headOf(model), targets);
  });
}

/** The same for each target, without a gradient: float32 (batch, context). */
export function languageNll(model: LayerSource, windows: Tensor2D): Tensor2D {
  return tidy(() => {
    const { rows, targets } = shifted(model, windows, {});
    return reshape(linearNll(rows, headOf(model), targets), [windows.shape[0], -1]);
  });
}

/** Hidden states (rows, n), one row for each target, and the targets (rows). */
function shifted(
  model: LayerSource,
  windows: Tensor2D,
  options: LanguageLossOptions,
): { rows: Tensor2D; targets: Tensor1D } {
  expectOperand(model.architecture.type, { windows }, { dtype: "int32", shape: ["batch", "context + 1"] });
  const [batch, length] = windows.shape;
  const context = length - 1;
  const inputs = slice(windows, [0, 0], [batch, context]);
  const targets = slice(windows, [0, 1], [batch, context]);
  const hidden = languageHidden(model, inputs, options);
  return {
    rows: reshape(hidden, [batch * context, hidden.shape[2]]),
    targets: reshape(targets, [batch * context]),
  };
}
