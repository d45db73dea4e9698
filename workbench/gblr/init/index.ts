// Initial parameters of a GBLR matrix, computed from a trained matrix.

export { type FindBlocksOptions, findBlocks } from "./block-search.ts";
export { blocksWithin, spendBudget } from "./blocks-within.ts";
export { firstTriples, type Triples } from "./decompositions.ts";
export { locationsByRule, widthsByRule, widthValues, withGradients } from "./rules.ts";
export { activationAwareSvd, outputTriples, type SvdFactors, svdFactors } from "./svd.ts";
export { SharedWhitening, WHITENINGS, type Whitening } from "./whitening.ts";
