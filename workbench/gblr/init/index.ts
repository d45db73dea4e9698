// Starting values of a GBLR matrix from a trained one, one import for all.

export { type ActivationAwareOptions, activationAwareSvd, outputTriples } from "./activation-aware.ts";
export type { Blocks } from "./block-state.ts";
export { type BlockCounts, blocksWithin, type SpendOptions, spendBudget } from "./blocks-within.ts";
export { withGradients } from "./dead-blocks.ts";
export { firstTriples, handOn, type Triples } from "./decompositions.ts";
export { type FindBlocksEvent, type FindBlocksOptions, type FoundBlocks, findBlocks } from "./find-blocks.ts";
export { type FindMaskOptions, type FoundMask, findMask } from "./find-mask.ts";
export { type FitOptions, type FitProgress, fitBlocks } from "./fit-blocks.ts";
export { type LocationOptions, locationsByRule } from "./location-rules.ts";
export { type SvdFactors, type SvdFactorsOptions, svdFactors } from "./svd-factors.ts";
export { type BlockGrid, widthsByRule, widthValues } from "./width-rules.ts";
