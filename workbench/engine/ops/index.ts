// The fused ops. Importing this module registers their kernels for every backend but torch, which registers its own.

export { type AdamwGroup, type AdamwOptions, adamwStep, gradientNorm } from "./adamw.ts";
export { type AttentionOptions, attention } from "./attention.ts";
export {
  type CrossEntropyOptions,
  crossEntropy,
  type LinearCrossEntropyOptions,
  linearCrossEntropy,
  linearNll,
} from "./cross-entropy.ts";
export { type DropoutOptions, dropout } from "./dropout.ts";
export { gatedActivation } from "./gated-activation.ts";
export { type GaudiMaskOptions, type GaudiMaskTables, gaudiMask } from "./gblr/gaudi-mask.ts";
export { canMultiplyLiveBlocks, type LiveOperands, type LiveSide, livePlan, liveProduct } from "./gblr/live.ts";
export { type PanelProductOperands, panelMatrix, panelProduct } from "./gblr/panels.ts";
export { gblrWeight, type PackedProductOperands, packedProduct } from "./gblr/products.ts";
export { type TileProductOperands, tileProduct } from "./gblr/tiles.ts";
export { type GeluOptions, gelu } from "./gelu.ts";
export { allocate, canFill, fill, heldInFloat32, releaseMemory } from "./held.ts";
export type { Activation, GateActivation, GeluForm, HeldType, WeightLayout } from "./kernels.ts";
export { type LinearOptions, linear } from "./linear.ts";
export {
  type BatchNormOptions,
  type BatchStatistics,
  batchNorm,
  type LayerNormOptions,
  layerNorm,
} from "./normalization.ts";
export { canAttendPages, type PagedAttentionOptions, type Pages, pagedAttention } from "./paged-attention.ts";
export { type RmsNormOptions, rmsNorm } from "./rms-norm.ts";
export { rotary } from "./rotary.ts";
export { canWriteRows, embedding, scatterRows, writeRows } from "./rows.ts";
