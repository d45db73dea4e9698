// Starting values of a GBLR matrix from a trained one.

export { type FindBlocksEvent, type FindBlocksOptions, type FoundBlocks, findBlocks } from "./block-search.ts";
export { type BlockCounts, blocksWithin, type SpendOptions, spendBudget } from "./blocks-within.ts";
export { firstTriples, handOn, type Triples } from "./decompositions.ts";
export {
  type BlockGrid,
  type LocationOptions,
  locationsByRule,
  widthsByRule,
  widthValues,
  withGradients,
} from "./rules.ts";
export {
  type ActivationAwareOptions,
  activationAwareSvd,
  outputTriples,
  type SvdFactors,
  type SvdFactorsOptions,
  svdFactors,
} from "./svd.ts";
