// Matrix decompositions on every engine.

export { cholesky, type DampingOptions, solvePositive } from "./cholesky.ts";
export { expectFinite, type Svd, type SvdOptions, type SymmetricEigen, svd, symmetricEigen } from "./decompositions.ts";
export { solveTriangular } from "./triangular.ts";
