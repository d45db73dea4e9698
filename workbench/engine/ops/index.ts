// The fused ops, one import for all. Importing them registers their kernels for every backend but torch, which
// registers its own.

export { type AdamwGroup, type AdamwOptions, adamwStep, gradientNorm } from "./adamw.ts";
export { type AttentionOptions, attention } from "./attention.ts";
export { type BatchNormOptions, type BatchStatistics, batchNorm } from "./batch-norm.ts";
export { type CrossEntropyOptions, crossEntropy } from "./cross-entropy.ts";
export { type DropoutOptions, dropout } from "./dropout.ts";
export { embedding } from "./embedding.ts";
export { type GaudiMaskOptions, type GaudiMaskTables, gaudiMask } from "./gaudi-mask.ts";
export { gblrWeight } from "./gblr-weight.ts";
export { type GeluOptions, gelu } from "./gelu.ts";
export type { Activation, GeluForm, WeightLayout } from "./kernels.ts";
export { type LayerNormOptions, layerNorm } from "./layer-norm.ts";
export { type LinearOptions, linear } from "./linear.ts";
export { type LinearCrossEntropyOptions, linearCrossEntropy, linearNll } from "./linear-cross-entropy.ts";
export { type PackedProductOperands, packedProduct } from "./packed-product.ts";
export { canWriteRows, writeRows } from "./write-rows.ts";
