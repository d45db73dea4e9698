// Logits and losses of language models of any architecture: the mean negative log-likelihood for training, and the
// negative log-likelihood of each token for evaluation. The losses never hold all logits, which would be the largest
// tensor, in memory: linearCrossEntropy computes them some rows at a time.

import {
  reshape,
  type Scalar,
  slice,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tidy,
  Variable,
} from "@tensorflow/tfjs-core";
import { linear, linearCrossEntropy, linearNll } from "../../engine/ops/index.ts";
import { expectOperand } from "../../engine/ops/operands.ts";
import { type LanguageOptions, type LanguageSizes, type LayerSource, languageTaskOf } from "../task.ts";

/**
 * The sizes of a language model.
 * @throws EngineError if the model is not a language model
 */
export const languageSizes = (model: Pick<LayerSource, "architecture" | "config">): LanguageSizes =>
  languageTaskOf(model).sizes(model.config);

/**
 * Computes the hidden states to which the head is applied.
 * @param ids int32 (batch, tokens)
 * @returns float32 (batch, tokens, n)
 * @throws ShapeError if there are more tokens than positions; EngineError if the model is not a language model
 */
export const languageHidden = (model: LayerSource, ids: Tensor2D, options: LanguageOptions = {}): Tensor3D =>
  languageTaskOf(model).hidden(model, ids, options);

/**
 * The most tokens of a sequence whose length nothing else decides. Models for long texts have so many positions
 * (131 072) that a sequence of all of them would take hours, and the products of attention would outweigh all layers.
 */
const LONGEST_USUAL = 2048;

/** The number of tokens of a usual sequence: the model's positions, at most 2048. */
export const usualContext = ({ positions }: Pick<LanguageSizes, "positions">): number =>
  Math.min(positions, LONGEST_USUAL);

/** The weight of the output head, float32 (vocabulary, n). */
export const headOf = (model: LayerSource): Tensor2D => languageTaskOf(model).head(model);

/** Whether a weight is not trained, so that its gradient need not be computed. */
export const isFixed = (weight: Tensor2D): boolean => weight instanceof Variable && !weight.trainable;

/**
 * Computes the logits of the next token at every position.
 * @param ids int32 (batch, tokens)
 * @returns logits, float32 (batch, tokens, vocabulary)
 * @throws ShapeError if there are more tokens than positions; EngineError if the model is not a language model
 * @public
 */
export const languageLogits = (model: LayerSource, ids: Tensor2D, options: LanguageOptions = {}): Tensor3D =>
  tidy(() => linear(languageHidden(model, ids, options), headOf(model)) as Tensor3D);

export type LanguageLossOptions = Pick<LanguageOptions, "dropoutSeed">;

/**
 * The mean of −ln p(token | preceding tokens) over all targets of all windows. It is differentiable.
 * @param windows int32 (batch, context + 1). The inputs are all but the last token, the targets all but the first
 * @throws ShapeError if the context is longer than the model's positions
 */
export function languageLoss(model: LayerSource, windows: Tensor2D, options: LanguageLossOptions = {}): Scalar {
  return tidy(() => {
    const { rows, targets } = shifted(model, windows, options);
    const head = headOf(model);
    return linearCrossEntropy(rows, head, targets, { weightIsFixed: isFixed(head) });
  });
}

/**
 * The negative log-likelihood −ln p(token | preceding tokens) of each target, without a gradient.
 * @param windows int32 (batch, context + 1), as for `languageLoss`
 * @returns float32 (batch, context)
 */
export function languageNll(model: LayerSource, windows: Tensor2D): Tensor2D {
  return tidy(() => {
    const { rows, targets } = shifted(model, windows, {});
    return reshape(linearNll(rows, headOf(model), targets), [windows.shape[0], -1]);
  });
}

/** The hidden states (batch · context, n), and the target of each row, (batch · context). */
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
