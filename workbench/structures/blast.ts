// BLAST matrices (Lee et al., NeurIPS 2024, arXiv 2410.21262): a grid of blocks U_i diag(s_ij) V_jᵀ, where the blocks of
// a row share U_i and those of a column V_j. The numbers s_ij are called couplings here. If all of them are equal, it is
// a low-rank matrix. It is fitted to entries by the authors' preconditioned gradient descent (fit/blast-fit.ts). Products
// pad sizes that the grid does not divide with zeros; parameters are not padded.

import {
  div,
  divNoNan,
  matMul,
  mean,
  mul,
  ones,
  pow,
  reshape,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  type Tensor4D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { STORED_BLAST } from "../../hub/model-folder/index.ts";
import { asRows } from "../engine/ops/op.ts";
import { expectOperand, expectSetting } from "../engine/ops/operands.ts";
import { cut, filled } from "./block-factors.ts";
import { allowance, expectPaid, type MatrixSize } from "./budget.ts";
import { defineStructure } from "./define.ts";
import { refitBest } from "./fit/activation-start.ts";
import { type BlastSizes, type BlastStacks, fitBlast, randomStacks } from "./fit/blast-fit.ts";
import { damped, deviations, fromScaled } from "./fit/input-scale.ts";
import { outputErrorOf } from "./fit/refit.ts";
import { type LowRankParameters, nearestFactors, nearestInOutputs } from "./lowrank.ts";
import {
  expectCovariance,
  parametersNamed,
  type SearchProgress,
  type StartedLayer,
  type StartOptions,
  type StructureParameters,
} from "./structure.ts";

interface BlastOptions {
  /** blocks on each side. Default 6, as in the authors' GPT-2, or fewer if rank 1 is not affordable */
  blocks?: number;
  /** iterations of the factorization. Default 100 */
  iterations?: number;
  /** random seed of the initial factors. Default 0 */
  seed?: number;
}

const { name } = STORED_BLAST;
const USUAL_BLOCKS = 6;
const ITERATIONS = 100;

/** Parameters: `basis_out` (n_out, r), the rows of all U_i; `basis_in` (n_in, r), those of all V_j; `couplings` (J, K, r). */
export const blast = defineStructure<BlastOptions>(STORED_BLAST, {
  /**
   * The better of the authors' factorization and the nearest low-rank matrix, in which all couplings are 1.
   * @throws EngineError when rank 1 is not affordable within the budget
   */
  async fromDense(weight, budget, options = {}) {
    expectOperand(name, { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
    const { iterations = ITERATIONS, seed = 0 } = options;
    expectSetting(name, { iterations }, "a whole number from 0", Number.isInteger(iterations) && iterations >= 0);
    const [nOut, nIn] = weight.shape;
    const sizes = partsWithin({ nOut, nIn }, budget, options);
    const low = withCouplings(await nearestFactors(weight, sizes.rank), sizes);
    // The nearest low rank is the matrix itself.
    if (sizes.rank === Math.min(nOut, nIn) || iterations === 0) return low;
    const found = await factorized(weight, sizes, { iterations, seed });
    const [lost, lostByLow] = [await errorOf(weight, found), await errorOf(weight, low)];
    const [kept, dropped] = lost <= lostByLow ? [found, low] : [low, found];
    for (const tensor of Object.values(dropped)) tensor.dispose();
    return kept;
  },

  costWithin: (size, budget, options = {}) => partsWithin(size, budget, options).cost,

  apply(parameters, x) {
    const parts = partsOf(parameters);
    const { nIn, nOut, rows, columns, width, height } = parts.sizes;
    expectOperand(name, { x }, { dtype: "float32", shape: ["...", nIn] });
    return tidy(() => {
      const { out, in: inwards, scales } = stacked(parts);
      const flat = asRows(x) as Tensor2D;
      const count = flat.shape[0];
      const inputs = transpose(reshape(filled(flat, 1, columns * width), [count, columns, width]), [1, 0, 2]);
      const middle = transpose(matMul(inputs, inwards), [2, 1, 0]);
      const coupled = matMul(middle, transpose(scales, [2, 1, 0]));
      const outputs = matMul(transpose(coupled, [2, 1, 0]), out, false, true);
      const y = cut(reshape(transpose(outputs, [1, 0, 2]), [count, rows * height]) as Tensor2D, 1, nOut);
      return reshape(y, [...x.shape.slice(0, -1), nOut]);
    });
  },

  dense(parameters) {
    const parts = partsOf(parameters);
    return tidy(() => matrixOf(stacked(parts), parts.sizes));
  },

  cost: async (parameters) => costOf(partsOf(parameters).sizes),

  inspect: async ({ nIn, nOut, shapes: { couplings = [] } }) => {
    const [rows = 1, columns = 1, rank = 0] = couplings;
    return { cost: costOf(sizesOf({ nIn, nOut }, { rows, columns, rank })) };
  },

  scaleInputs: ({ basis_in }, scale) => ({ basis_in: mul(basis_in as Tensor, reshape(scale, [-1, 1])) }),

  balanced(parameters) {
    const { basisOut, basisIn, couplings, sizes } = partsOf(parameters);
    const [outer, inner] = [lengths(basisOut), lengths(basisIn)];
    const coupling = sqrt(mean(square(couplings), [0, 1]));
    const whole = mul(mul(outer, inner), coupling);
    // Let a component have bases of equal norm, couplings of root mean square κ, and σ = κ ‖u‖ ‖v‖. Then the curvature is
    // κ σ in the bases and (σ / κ)² / (J K) in a coupling. Both are equal for κ³ = σ / (J K).
    const fair = pow(div(whole, sizes.rows * sizes.columns), 1 / 3);
    const side = sqrt(divNoNan(whole, fair));
    return {
      basis_out: mul(basisOut, divNoNan(side, outer)),
      basis_in: mul(basisIn, divNoNan(side, inner)),
      couplings: mul(couplings, divNoNan(fair, coupling)),
    };
  },

  starts: { activation: refittedFactors },
});

/**
 * Initialization `activation`: the factorization of the matrix with scaled inputs, refitted to outputs, or whitened low
 * rank of the same rank if it has the smaller error.
 */
async function* refittedFactors(weight: Tensor2D, options: StartOptions): AsyncGenerator<SearchProgress, StartedLayer> {
  const { structure, layer, seed = 0 } = options;
  const covariance = expectCovariance(layer, options.covariance);
  const { nOut, nIn, allowed } = layer;
  const budget = allowed / (nOut * nIn);
  const scale = tidy(() => deviations(damped(covariance)));
  const start = await fromScaled(structure, weight, { scale, budget, rules: { seed } });
  scale.dispose();
  const found = yield* refitBest(weight, [start], options);
  const sizes = partsWithin({ nOut, nIn }, budget, {});
  const low = withCouplings(await nearestInOutputs(weight, sizes.rank, { layer, covariance }), sizes);
  const metric = { target: weight, covariance };
  const isNearer =
    (await outputErrorOf(structure, found.parameters, metric)) <= (await outputErrorOf(structure, low, metric));
  for (const tensor of Object.values(isNearer ? low : found.parameters)) tensor.dispose();
  return isNearer ? found : { ...found, parameters: low };
}

/** Norms of the columns of a matrix. */
const lengths = (matrix: Tensor2D): Tensor => sqrt(sum(square(matrix), 0));

/** Sizes of a BLAST matrix and of its padded blocks. */
type Sizes = MatrixSize & BlastSizes;

const sizesOf = (size: MatrixSize, grid: { rows: number; columns: number; rank: number }): Sizes => ({
  ...size,
  ...grid,
  height: Math.ceil(size.nOut / grid.rows),
  width: Math.ceil(size.nIn / grid.columns),
});

/** Multiply-adds per row, including those with padding. */
const costOf = ({ rows, columns, height, width, rank }: BlastSizes): number =>
  rank * (rows * height + columns * width + rows * columns);

function partsWithin(size: MatrixSize, budget: number, { blocks: wanted }: BlastOptions): Sizes & { cost: number } {
  const allowed = allowance(name, budget, size);
  const most = Math.min(size.nOut, size.nIn);
  const isCount = wanted === undefined || (Number.isInteger(wanted) && wanted >= 1 && wanted <= most);
  expectSetting(name, { blocks: wanted }, `an integer from 1 to ${most}`, isCount);
  const ofRank = (blocks: number) => costOf(sizesOf(size, { rows: blocks, columns: blocks, rank: 1 }));
  let blocks = wanted ?? Math.min(USUAL_BLOCKS, most);
  while (wanted === undefined && blocks > 1 && ofRank(blocks) > allowed) blocks--;
  const rank = Math.min(most, Math.max(1, Math.floor(allowed / ofRank(blocks))));
  const cost = rank * ofRank(blocks);
  expectPaid({ structure: name, what: `rank ${rank} in ${blocks} × ${blocks} blocks`, cost, budget, ...size });
  return { ...sizesOf(size, { rows: blocks, columns: blocks, rank }), cost };
}

/** The parameters of a low-rank matrix. */
function withCouplings({ left, right }: LowRankParameters, { rows, columns, rank }: Sizes): StructureParameters {
  const basis_in = transpose(right);
  right.dispose();
  return { basis_out: left, basis_in, couplings: ones([rows, columns, rank]) };
}

/** The authors' factorization, of the matrix scaled to unit variance as in their code. */
async function factorized(
  weight: Tensor2D,
  sizes: Sizes,
  { iterations, seed }: { iterations: number; seed: number },
): Promise<StructureParameters> {
  const { nIn, nOut, rows, columns, height, width, rank } = sizes;
  const size = tidy(() => sqrt(mean(square(weight))));
  const grid = tidy(() => {
    const whole = filled(filled(div<Tensor2D>(weight, size), 0, rows * height), 1, columns * width);
    return transpose(reshape(whole, [rows, height, columns, width]) as Tensor4D, [0, 2, 1, 3]);
  });
  const { out, in: inwards, scales } = await fitBlast(grid, randomStacks(sizes, seed), { iterations });
  const found = tidy(() => ({
    basis_out: cut(reshape(out, [rows * height, rank]), 0, nOut),
    basis_in: cut(reshape(inwards, [columns * width, rank]), 0, nIn),
    couplings: mul<Tensor3D>(scales, size),
  }));
  for (const tensor of [size, grid, out, inwards, scales]) tensor.dispose();
  return found;
}

async function errorOf(weight: Tensor2D, parameters: StructureParameters): Promise<number> {
  const lost = tidy(() => sum(square(sub(weight, blast.dense(parameters)))));
  const [value = Number.NaN] = await lost.data();
  lost.dispose();
  return value;
}

function matrixOf({ out, in: inwards, scales }: BlastStacks, sizes: Sizes): Tensor2D {
  const { rows, columns, height, width, rank, nOut, nIn } = sizes;
  const coupled = mul(reshape(scales, [rows, columns, 1, rank]), reshape(inwards, [1, columns, width, rank]));
  const blocks = matMul(out, reshape(coupled, [rows, columns * width, rank]), false, true);
  return cut(cut(reshape(blocks, [rows * height, columns * width]) as Tensor2D, 0, nOut), 1, nIn);
}

interface Parts {
  basisOut: Tensor2D;
  basisIn: Tensor2D;
  couplings: Tensor3D;
  sizes: Sizes;
}

function stacked({ basisOut, basisIn, couplings, sizes }: Parts): BlastStacks {
  const { rows, columns, height, width, rank } = sizes;
  return {
    out: reshape(filled(basisOut, 0, rows * height), [rows, height, rank]),
    in: reshape(filled(basisIn, 0, columns * width), [columns, width, rank]),
    scales: couplings,
  };
}

function partsOf(parameters: StructureParameters): Parts {
  const found = parametersNamed(name, parameters, ["basis_out", "basis_in", "couplings"]);
  const { basis_out, basis_in, couplings } = found as { basis_out: Tensor2D; basis_in: Tensor2D; couplings: Tensor3D };
  expectOperand(name, { couplings }, { dtype: "float32", shape: ["J", "K", "rank"] });
  const [rows, columns, rank] = couplings.shape;
  expectOperand(name, { basis_out }, { dtype: "float32", shape: ["n_out", rank] });
  expectOperand(name, { basis_in }, { dtype: "float32", shape: ["n_in", rank] });
  const sizes = sizesOf({ nOut: basis_out.shape[0], nIn: basis_in.shape[0] }, { rows, columns, rank });
  return { basisOut: basis_out, basisIn: basis_in, couplings, sizes };
}
