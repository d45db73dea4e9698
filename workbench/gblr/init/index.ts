// Starting values of a GBLR matrix from a trained one.

export { type FindBlocksOptions, findBlocks } from "./block-search.ts";
export { blocksWithin, spendBudget } from "./blocks-within.ts";
export { locationsByRule, widthsByRule, widthValues, withGradients } from "./rules.ts";
export { activationAwareSvd, type SvdFactors, svdFactors } from "./svd.ts";
