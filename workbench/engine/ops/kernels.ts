// The kernels behind the ops and the matrix decompositions: names, inputs, attributes and outputs. This is the contract
// between an op and the backends that run it. The torch backend implements every kernel with ATen; the other backends
// run the op's composition of tf.* operations, and compute decompositions on the host. Outputs after the first are
// inputs of the same backend's gradient kernel; nothing else reads them. In the comments below, an arrow precedes the
// outputs of a kernel. Kernels that only GBLR needs are in gblr/kernels.ts.

import type { TensorInfo } from "@tensorflow/tfjs-core";

/** The activation that `linear` applies to its output. */
export type Activation = "none" | "gelu" | "gelu_tanh";
/** `out_in`: weight (n_out, n_in) as PyTorch's Linear keeps it; `in_out`: (n_in, n_out) as GPT-2's Conv1D does */
export type WeightLayout = "out_in" | "in_out";
/** The form of gelu: `none` is exact, `tanh` is the tanh approximation. */
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

/** → y like x and 1/rms (..., 1) */
export const RMS_NORM = "FusedRmsNorm";
export type RmsNormInputs = { x: TensorInfo; gain: TensorInfo };
export type RmsNormAttributes = { epsilon: number };
/** → dx like x and dgain (width) */
export const RMS_NORM_GRADIENT = "FusedRmsNormGradient";
export type RmsNormGradientInputs = RmsNormInputs & { dy: TensorInfo; inverseRms: TensorInfo };

/** → y like x. `inverse` rotates by the opposite angles, which is the gradient */
export const ROTARY = "FusedRotary";
export type RotaryInputs = { x: TensorInfo; cos: TensorInfo; sin: TensorInfo };
export type RotaryAttributes = { inverse: boolean };

/** The activation of the gate in `gatedActivation`. */
export type GateActivation = "silu" | "gelu_tanh";
/** → y like gate */
export const GATED_ACTIVATION = "FusedGatedActivation";
export type GatedActivationInputs = { gate: TensorInfo; up: TensorInfo };
export type GatedActivationAttributes = { activation: GateActivation };
/** → dgate and dup, both like gate */
export const GATED_ACTIVATION_GRADIENT = "FusedGatedActivationGradient";
export type GatedActivationGradientInputs = GatedActivationInputs & { dy: TensorInfo };

/** → y (batch, heads, tokens, value_dim) and the backend's residuals */
export const ATTENTION = "FusedAttention";
/** k and v may have fewer heads than q, which has a multiple of theirs */
export type AttentionInputs = { q: TensorInfo; k: TensorInfo; v: TensorInfo };
/** `window`: number of keys up to its own position that a query attends to, Infinity for all; finite only if causal */
export type AttentionAttributes = { causal: boolean; scale: number; window: number; keepResiduals: boolean };
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

/** Changes `buffer`, a Variable, in place. Only backends that can change a tensor have this kernel. → no outputs */
export const WRITE_ROWS = "FusedWriteRows";
export type WriteRowsInputs = { buffer: TensorInfo; rows: TensorInfo };
export type WriteRowsAttributes = { at: number };

/** Changes `buffer`, a Variable, in place. Only backends that can change a tensor have this kernel. → no outputs */
export const SCATTER_ROWS = "FusedScatterRows";
export type ScatterRowsInputs = { buffer: TensorInfo; rows: TensorInfo; ids: TensorInfo };

/** Only the torch backend on the CPU has this kernel. → y like q */
export const PAGED_ATTENTION = "FusedPagedAttention";
export type PagedAttentionInputs = {
  q: TensorInfo;
  k: TensorInfo;
  v: TensorInfo;
  pages: TensorInfo;
  lengths: TensorInfo;
};
/** `window` as for attention */
export type PagedAttentionAttributes = { size: number; scale: number; window: number };

/** Number types in which an engine can hold the values of a float32 tensor. */
export type HeldType = "float32" | "bfloat16" | "float16";

/** Only backends that can change a tensor have this kernel and the next. → a tensor whose values are not set */
export const ALLOCATE = "Allocate";
export type AllocateAttributes = { shape: readonly number[]; held: HeldType };

/** Stores values in `buffer` from element `at` on, in place. → no outputs */
export const WRITE_VALUES = "WriteValues";
export type WriteValuesInputs = { buffer: TensorInfo };
/** `bytes`: whole, aligned numbers of the type `type` */
export type WriteValuesAttributes = { at: number; bytes: Uint8Array; type: HeldType | "float64" };

/** Only backends that hold tensors in half precision have this kernel. x → x, held in float32 */
export const TO_FLOAT32 = "ToFloat32";
export type ToFloat32Inputs = { x: TensorInfo };

/** Only backends that keep freed memory for reuse have this kernel. → no outputs */
export const RELEASE_MEMORY = "ReleaseMemory";

/** Inputs are a list of gradients. → their Euclidean norm, a scalar */
export const GRADIENT_NORM = "FusedGradientNorm";

/**
 * Inputs are a list: `count` parameters, then as many gradients, first moments and second moments, then optionally a
 * scalar by which gradients are multiplied. Parameters and moments are Variables and are changed in place. → no outputs
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

/** x float32 (m, n) → u (m, k), s (k) largest first, v (n, k) */
export const SVD = "Svd";
export type SvdInputs = { x: TensorInfo };
/** `rank`: k, from 1 to min(m, n) */
export type SvdAttributes = { rank: number };

/** x float32 (n, n) → values (n) largest first, vectors (n, n) as columns */
export const SYMMETRIC_EIGEN = "SymmetricEigen";
export type SymmetricEigenInputs = { x: TensorInfo };

/**
 * x float32 (n, n) + damping · I = L Lᵀ, computed in float64 → lower (n, n), and a scalar that is not 0 if the sum is not
 * positive definite; `lower` has no meaning then
 */
export const CHOLESKY = "Cholesky";
export type CholeskyInputs = { x: TensorInfo };
export type CholeskyAttributes = { damping: number };

/**
 * x (…, n, n), right (…, n, m) → (x + damping · I)⁻¹ right (…, n, m), by Cholesky in float64, and for each matrix a number
 * that is not 0 if the sum is not positive definite
 */
export const CHOLESKY_SOLVE = "CholeskySolve";
export type CholeskySolveInputs = { x: TensorInfo; right: TensorInfo };

/**
 * lower (n, n), right (n, m) → lower⁻¹ right, or lower⁻ᵀ right if `transposed`, (n, m), in float64. What is above the
 * diagonal of `lower` is ignored.
 */
export const TRIANGULAR_SOLVE = "TriangularSolve";
export type TriangularSolveInputs = { lower: TensorInfo; right: TensorInfo };
export type TriangularSolveAttributes = { transposed: boolean };

/**
 * The smallest ratio of the last requested singular value to the first at which singular values are computed from the
 * Gram matrix. At this ratio the relative error of the last one, 2e-16 / ratio² in float64, is about 1e-8. Below it the
 * matrix itself is decomposed.
 */
export const LEAST_GRAM_RATIO = 1e-4;
