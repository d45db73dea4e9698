// Matrix decompositions on every engine.

export { cholesky, type DampingOptions, solveDamped } from "./cholesky.ts";
export { type Svd, type SvdOptions, type SymmetricEigen, svd, symmetricEigen } from "./decompositions.ts";
export { solvePositive } from "./solve.ts";
