// Matrix decompositions on every engine.

export { type Svd, type SvdOptions, type SymmetricEigen, svd, symmetricEigen } from "./decompositions.ts";
export { solvePositive } from "./solve.ts";
