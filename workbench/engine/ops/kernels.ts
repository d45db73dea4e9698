// The fused kernels by name, with their operands: the contract between an op and the backends that run it. An op calls
// the kernel, the torch backend implements it with ATen, every other backend runs the op's portable composition.
// Outputs after the first are what the same backend's gradient kernel wants back; nobody else reads them.

import type { TensorInfo } from "@tensorflow/tfjs-core";

export type Activation = "none" | "gelu" | "gelu_tanh";
/** `out_in`: weight (n_out, n_in) as PyTorch's Linear keeps it; `in_out`: (n_in, n_out) as GPT-2's Conv1D does */
export type WeightLayout = "out_in" | "in_out";
export type GeluForm = "none" | "tanh";

/** → y (..., n_out) and, when asked to keep it, the preactivation of the same shape */
export const LINEAR = "FusedLinear";
export type LinearInputs = { x: TensorInfo; weight: TensorInfo; bias?: TensorInfo };
export type LinearAttributes = { activation: Activation; layout: WeightLayout; keepPreactivation: boolean };

/** → y like x */
export const GELU = "FusedGelu";
export type GeluInputs = { x: TensorInfo };
/** → dx like x */
export const GELU_GRADIENT = "FusedGeluGradient";
export type GeluGradientInputs = { dy: TensorInfo; x: TensorInfo };
export type GeluAttributes = { approximate: GeluForm };

/** → y like x, mean and 1/std (..., 1) */
export const LAYER_NORM = "FusedLayerNorm";
export type LayerNormInputs = { x: TensorInfo; gain: TensorInfo; bias: TensorInfo };
export type LayerNormAttributes = { epsilon: number };
/** → dx like x, dgain and dbias (width) */
export const LAYER_NORM_GRADIENT = "FusedLayerNormGradient";
export type LayerNormGradientInputs = LayerNormInputs & { dy: TensorInfo; mean: TensorInfo; inverseStd: TensorInfo };

/** → y (batch, heads, tokens, head_dim) and the backend's residuals */
export const ATTENTION = "FusedAttention";
export type AttentionInputs = { q: TensorInfo; k: TensorInfo; v: TensorInfo };
export type AttentionAttributes = { causal: boolean; scale: number; keepResiduals: boolean };
/** → dq, dk, dv; the residuals come back as `residual0`, `residual1`, … */
export const ATTENTION_GRADIENT = "FusedAttentionGradient";
export type AttentionGradientInputs = AttentionInputs & { dy: TensorInfo; y: TensorInfo } & {
  [residual: `residual${number}`]: TensorInfo;
};

/** → loss (rows) and the log-sum-exp of each row (rows) */
export const CROSS_ENTROPY = "FusedCrossEntropy";
export type CrossEntropyInputs = { logits: TensorInfo; targets: TensorInfo };
export type CrossEntropyAttributes = { ignoreIndex: number; labelSmoothing: number };
/** → dlogits like logits */
export const CROSS_ENTROPY_GRADIENT = "FusedCrossEntropyGradient";
export type CrossEntropyGradientInputs = CrossEntropyInputs & { dy: TensorInfo; logSumExp: TensorInfo };

/** → y (...ids, width) */
export const EMBEDDING = "FusedEmbedding";
export type EmbeddingInputs = { table: TensorInfo; ids: TensorInfo };
/** → dtable (rows, width) */
export const EMBEDDING_GRADIENT = "FusedEmbeddingGradient";
export type EmbeddingGradientInputs = { dy: TensorInfo; ids: TensorInfo };
export type EmbeddingGradientAttributes = { rows: number };

/** → y like x and the mask of kept entries (bool) */
export const DROPOUT = "FusedDropout";
export type DropoutInputs = { x: TensorInfo };
export type DropoutAttributes = { rate: number; seed: number };
/** → dx like dy */
export const DROPOUT_GRADIENT = "FusedDropoutGradient";
export type DropoutGradientInputs = { dy: TensorInfo; mask: TensorInfo };
export type DropoutGradientAttributes = { rate: number };

/** → mask (K, length) */
export const GAUDI_MASK = "FusedGaudiMask";
export type GaudiMaskInputs = { widths: TensorInfo; locations: TensorInfo; edges: TensorInfo };
export type GaudiMaskAttributes = { boxcar: boolean; evaluate: boolean };
/** Entries of evaluation masks no larger than this are 0. */
export const LEAST_ENTRY = 1e-3;
/** → dwidths, dlocations (K) */
export const GAUDI_MASK_GRADIENT = "FusedGaudiMaskGradient";
export type GaudiMaskGradientInputs = { dy: TensorInfo; widths: TensorInfo; locations: TensorInfo; slopes: TensorInfo };

/** → W (n_out, n_in) */
export const GBLR_WEIGHT = "FusedGblrWeight";
export type GblrWeightInputs = { output: TensorInfo; input: TensorInfo };
/** → doutput, dinput */
export const GBLR_WEIGHT_GRADIENT = "FusedGblrWeightGradient";
export type GblrWeightGradientInputs = GblrWeightInputs & { dy: TensorInfo };

/** → y (rows, n_out) */
export const PACKED_PRODUCT = "FusedPackedProduct";
export type PackedProductInputs = {
  x: TensorInfo;
  spans: TensorInfo;
  valuesIn: TensorInfo;
  valuesOut: TensorInfo;
  bias?: TensorInfo;
};
export type PackedProductAttributes = { nOut: number };

/** `buffer` is a Variable and changes; only backends that can have it. → nothing */
export const WRITE_ROWS = "FusedWriteRows";
export type WriteRowsInputs = { buffer: TensorInfo; rows: TensorInfo };
export type WriteRowsAttributes = { at: number };

/** inputs are the gradients as a list → their Euclidean norm, a scalar */
export const GRADIENT_NORM = "FusedGradientNorm";

/**
 * Inputs are a list: `count` parameters, then as many gradients, first and second moments, then the scalar that
 * gradients are multiplied with when there is one. Parameters and moments are Variables and change. → nothing
 */
export const ADAMW = "FusedAdamw";
export type AdamwAttributes = {
  count: number;
  step: number;
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
};
