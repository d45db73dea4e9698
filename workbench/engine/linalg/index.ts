// Matrix decompositions on every engine, one import for all.

export { type Svd, type SvdOptions, svd } from "./svd.ts";
export { type SymmetricEigen, symmetricEigen } from "./symmetric-eigen.ts";
