// The factorization of a matrix into BLAST factors by preconditioned gradient descent (Lee et al., NeurIPS 2024, arXiv
// 2410.21262, algorithm 2). Each iteration takes a step for the bases of the outputs, for those of the inputs and for
// the couplings. A step is the gradient of the squared error, multiplied with the damped inverse of its Hessian.

import {
  add,
  eye,
  matMul,
  max,
  mul,
  randomNormal,
  relu,
  reshape,
  type Scalar,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  type Tensor3D,
  type Tensor4D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { EngineError } from "../../engine/core/errors.ts";
import { solvePositive } from "../../engine/linalg/index.ts";

/** The three factors as stacks, padded with zeros: block (i, j) of the matrix is U_i diag(s_ij) V_jᵀ. */
export interface BlastStacks {
  /** U, (J, height, r) */
  out: Tensor3D;
  /** V, (K, width, r) */
  in: Tensor3D;
  /** s, (J, K, r) */
  scales: Tensor3D;
}

/** Sizes of a BLAST matrix: J × K blocks of height × width, rank r. */
export interface BlastSizes {
  rows: number;
  columns: number;
  height: number;
  width: number;
  rank: number;
}

/** Options of `fitBlast`. */
export interface BlastFitOptions {
  iterations: number;
  /** damping relative to the root of the squared error. Default 0.1, as in the authors' script for Llama */
  delta?: number;
}

/** Deviation of the initial bases, times √r. */
const SMALL = 1e-3;

/** The authors' initial factors for a matrix of unit variance: small bases, couplings of unit variance. */
export function randomStacks({ rows, columns, height, width, rank }: BlastSizes, seed: number): BlastStacks {
  const small = SMALL / Math.sqrt(rank);
  // Seeds of different factors must differ, because equal seeds give equal numbers.
  return {
    out: randomNormal([rows, height, rank], 0, small, "float32", 3 * seed + 1),
    in: randomNormal([columns, width, rank], 0, small, "float32", 3 * seed + 2),
    scales: randomNormal([rows, columns, rank], 0, 1, "float32", 3 * seed + 3),
  };
}

/**
 * Improves factors of a matrix. The factor of the steps falls linearly from 2 to 0. It is 2 and not 1 at the start because
 * the authors use the gradient of the whole squared error, not of half of it.
 * @param grid the matrix as blocks, float32 (J, K, height, width), of about unit variance
 * @param start factors to start from; disposed of
 */
export async function fitBlast(
  grid: Tensor4D,
  start: BlastStacks,
  { iterations, delta = 0.1 }: BlastFitOptions,
): Promise<BlastStacks> {
  const [rows, columns, height, width] = grid.shape;
  const { byRow, byColumn } = tidy(() => ({
    byRow: reshape(transpose(grid, [0, 2, 1, 3]), [rows, height, columns * width]) as Tensor3D,
    byColumn: reshape(transpose(grid, [1, 3, 0, 2]), [columns, width, rows * height]) as Tensor3D,
  }));
  const energy = tidy(() => sum(square(grid)) as Scalar);
  let stacks = start;
  const replace = (changed: Partial<BlastStacks>) => {
    for (const part of Object.keys(changed) as (keyof BlastStacks)[]) stacks[part].dispose();
    stacks = { ...stacks, ...changed };
  };
  for (let t = 0; t < iterations; t++) {
    const step = { size: 2 * (1 - t / iterations), delta, energy };
    replace({ out: await sideStep(byRow, stacks.out, { ...step, other: () => scaled(stacks.scales, stacks.in) }) });
    replace({
      in: await sideStep(byColumn, stacks.in, { ...step, other: () => scaled(turned(stacks.scales), stacks.out) }),
    });
    replace({ scales: await scalesStep(byRow, stacks, step) });
  }
  for (const tensor of [byRow, byColumn, energy]) tensor.dispose();
  return stacks;
}

const turned = (scales: Tensor3D): Tensor3D => transpose(scales, [1, 0, 2]);

/** The factors of the other side for each block row: scales (J, K, r) and bases (K, p, r) → (J, K p, r). */
function scaled(scales: Tensor3D, bases: Tensor3D): Tensor3D {
  const [rows, columns, rank] = scales.shape;
  const [, length] = bases.shape;
  return reshape(mul(reshape(scales, [rows, columns, 1, rank]), reshape(bases, [1, columns, length, rank])), [
    rows,
    columns * length,
    rank,
  ]);
}

interface Step {
  /** factor of the step; 1 would minimize the squared error without damping */
  size: number;
  delta: number;
  /** squared norm of the matrix */
  energy: Scalar;
}

/** Factors F (J, s, r) of the rows A (J, s, n) of a matrix, after a step for ‖A − F Oᵀ‖² with the others O (J, n, r). */
async function sideStep(
  matrix: Tensor3D,
  factors: Tensor3D,
  { other, size, delta, energy }: Step & { other: () => Tensor3D },
): Promise<Tensor3D> {
  const { gram, right } = tidy(() => {
    const fixed = other();
    const plain = matMul<Tensor3D>(fixed, fixed, true);
    const seen = matMul<Tensor3D>(matrix, fixed);
    const product = matMul<Tensor3D>(factors, plain);
    // ‖A − F Oᵀ‖² = ‖A‖² − 2 ⟨A O, F⟩ + ⟨F OᵀO, F⟩, without another product of the size of the matrix.
    const loss = add(energy, sum(mul(factors, sub(product, mul(seen, 2)))));
    return { gram: damped(plain, loss, delta), right: transpose(sub(product, seen), [0, 2, 1]) };
  });
  const direction = await directionOf(gram, right);
  const next = tidy(() => sub<Tensor3D>(factors, mul(transpose(direction, [0, 2, 1]), size)));
  for (const tensor of [gram, right, direction]) tensor.dispose();
  return next;
}

/** The couplings after a step. The Hessian of block (i, j) is the elementwise product of U_iᵀU_i and V_jᵀV_j. */
async function scalesStep(
  byRow: Tensor3D,
  { out, in: inwards, scales }: BlastStacks,
  { size, delta, energy }: Step,
): Promise<Tensor3D> {
  const [rows, columns, rank] = scales.shape;
  const [, width] = inwards.shape;
  const { gram, right } = tidy(() => {
    const [outer, inner] = [matMul<Tensor3D>(out, out, true), matMul<Tensor3D>(inwards, inwards, true)];
    const plain = mul(reshape(outer, [rows, 1, rank, rank]), reshape(inner, [1, columns, rank, rank]));
    const seenOut = reshape(matMul(byRow, out, true), [rows, columns, width, rank]);
    const seen = sum(mul(seenOut, reshape(inwards, [1, columns, width, rank])), 2);
    const product = reshape(matMul(plain, reshape(scales, [rows, columns, rank, 1])), [rows, columns, rank]);
    const loss = add(energy, sum(mul(scales, sub(product, mul(seen, 2)))));
    return {
      gram: damped(plain as Tensor4D, loss, delta),
      right: reshape(sub(product, seen), [rows, columns, rank, 1]),
    };
  });
  const direction = await directionOf(gram, right);
  const next = tidy(() => sub<Tensor3D>(scales, mul(reshape(direction, [rows, columns, rank]), size)));
  for (const tensor of [gram, right, direction]) tensor.dispose();
  return next;
}

/** A Gram matrix plus δ √loss on its diagonal, and a little more than rounding. */
function damped<T extends Tensor3D | Tensor4D>(gram: T, loss: Tensor, delta: number): T {
  const ridge = add(mul(sqrt(relu(loss)), delta), mul(max(gram), 1e-6));
  return add(gram, mul(eye(gram.shape[2]), ridge)) as T;
}

/** The solution of systems with damped Gram matrices. */
async function directionOf<T extends Tensor>(gram: Tensor, right: T): Promise<T> {
  const found = await solvePositive(gram, right);
  if (found) return found;
  throw new EngineError("blast: the factors are not finite", "lower the number of iterations");
}
