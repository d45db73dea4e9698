// Matrix decompositions, linear systems and a minimizer, on every engine.

export { cholesky, type DampingOptions, solvePositive } from "./cholesky.ts";
export { type Svd, type SvdOptions, type SymmetricEigen, svd, symmetricEigen } from "./decompositions.ts";
export { diagonalOf } from "./diagonal.ts";
export { expectFinite } from "./finite.ts";
export { type Evaluation, minimize } from "./lbfgs.ts";
export { solveTriangular } from "./triangular.ts";
