// Fits all tiles of a layout at once, without changing their ranks. Updates of one tile after the other converge slowly
// where tiles have directions in common. Here the left factors are eliminated: for given right factors the best left
// factors solve a linear system, so that the error is a function of the right factors alone (variable projection, Golub
// and Pereyra 1973), which L-BFGS minimizes.

import {
  add,
  addN,
  concat,
  div,
  matMul,
  mul,
  norm,
  reshape,
  type Scalar,
  slice,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tidy,
  transpose,
  zerosLike,
} from "@tensorflow/tfjs-core";
import { type Evaluation, minimize, solvePositive } from "../../engine/linalg/index.ts";
import type { Layout, Tile } from "./layout.ts";
import { type LevelOrder, levelOrder, type NestedLevel, nestedError } from "./levels.ts";
import { lengthOf, type OutputMetric, type Range } from "./metric.ts";

/** The factors of a tile of rank p above 0. */
export interface Factors {
  /** A, (a, p) */
  left: Tensor2D;
  /** coordinates of B in the basis of the tile's columns, (p, c) */
  right: Tensor2D;
}

/** Rows of the matrix, and the tiles that cover them. */
interface Band {
  rows: Range;
  tiles: readonly number[];
}

/**
 * Added to the diagonal of the system for left factors, whose diagonal entries are 1, so that tiles with nearly the same
 * directions do not cancel each other.
 */
const DAMPING = 1e-6;
/** Damping grows up to here if rounding makes the system indefinite. */
const MOST_DAMPING = 0.1;

/** What is fitted. */
export interface JointProblem {
  /** T after the product with L, (n_out, n_in) */
  target: Tensor2D;
  layout: Layout;
  metric: OutputMetric;
  /**
   * nested sizes, the smallest first, of which the last one has all ranks: the weighted sum of their squared errors is
   * minimized. Default: the squared error with all ranks
   */
  levels?: readonly NestedLevel[] | undefined;
}

/**
 * Lowers the error of all tiles together.
 * @param factors of each tile, undefined for a tile of rank 0; they still belong to the caller
 * @returns new factors, without orthonormal columns
 */
export async function jointlyFitted(
  problem: JointProblem,
  factors: readonly (Factors | undefined)[],
  { evaluations }: { evaluations: number },
): Promise<(Factors | undefined)[]> {
  if (!factors.some(Boolean)) return [...factors];
  const fit = new JointFit(problem, factors);
  const start = fit.start();
  const steps = minimize(start, (point) => fit.evaluate(point), { evaluations });
  let next = await steps.next();
  while (!next.done) next = await steps.next();
  const { point } = next.value;
  const found = await fit.factorsAt(point);
  release([point, start]);
  return found;
}

/** The objective and its gradient. Exported for the test of the gradient by differences. */
export class JointFit {
  private readonly problem: JointProblem;
  private readonly factors: readonly (Factors | undefined)[];
  private readonly bands: readonly Band[];

  constructor(problem: JointProblem, factors: readonly (Factors | undefined)[]) {
    this.problem = problem;
    this.factors = factors;
    this.bands = bandsOf(problem.layout, factors);
  }

  /** All right factors as one vector. */
  start(): Tensor1D {
    return tidy(() => concat(this.factors.flatMap((own) => (own ? [reshape(own.right, [-1]) as Tensor1D] : []))));
  }

  /** ‖T − W'‖² with the best left factors, and its derivative by the right factors. */
  async evaluate(point: Tensor1D): Promise<Evaluation> {
    const rights = this.rightsOf(point);
    const images = await this.imagesOf(rights);
    const values: Scalar[] = [];
    const slopes: Tensor2D[][] = images.map(() => []);
    for await (const { band, order, basis, left } of this.solved(images)) {
      const { value, slope } = tidy(() => {
        const { value, slope } = nestedError({ target: this.targetOf(band), basis, left, order });
        return { value, slope: order.restored(slope, 0) };
      });
      values.push(value);
      for (const { tile, from, rank } of placesOf(band, images))
        slopes[tile]?.push(slice(slope, [from, 0], [rank, -1]));
      slope.dispose();
    }
    const parts: Tensor1D[] = [];
    for (const [tile, own] of slopes.entries()) {
      if (own.length === 0) continue;
      const whole = addN(own);
      const { columns } = this.problem.layout.tiles[tile] as Tile;
      const within = await this.problem.metric.coordinates(whole, columns);
      parts.push(reshape(within, [-1]) as Tensor1D);
      release([whole, within, ...own]);
    }
    const [value, gradient] = [addN(values), concat(parts)];
    release([...rights, ...images, ...values, ...parts]);
    return { value, gradient };
  }

  /** The right factors of a point, with the best left factors. */
  async factorsAt(point: Tensor1D): Promise<(Factors | undefined)[]> {
    const rights = this.rightsOf(point);
    const images = await this.imagesOf(rights);
    const lefts: Tensor2D[][] = images.map(() => []);
    for await (const { band, order, left } of this.solved(images)) {
      const whole = tidy(() => order.restored(left, 1));
      for (const { tile, from, rank } of placesOf(band, images)) lefts[tile]?.push(slice(whole, [0, from], [-1, rank]));
      whole.dispose();
    }
    release(images);
    return rights.map((right, tile) => {
      if (!right) return undefined;
      const own = lefts[tile] as Tensor2D[];
      const left = concat(own, 0);
      release(own);
      return { left, right };
    });
  }

  /**
   * Each band with the rows of its tiles, (sum of ranks, n_in), and the best left factors, (rows, sum of ranks), both in
   * the order of levels.
   */
  private async *solved(images: readonly (Tensor2D | undefined)[]) {
    for (const band of this.bands) {
      const order = levelOrder(this.problem.levels, placesOf(band, images));
      const basis = tidy(() =>
        order.sorted(
          concat(
            band.tiles.map((tile) => images[tile] as Tensor2D),
            0,
          ),
        ),
      );
      const left = await this.leftOf(band, basis, order);
      yield { band, order, basis, left };
      release([basis, left]);
    }
  }

  /** The best left factors of a band for given right ones, (rows, sum of ranks). @param basis (sum of ranks, n_in) */
  private async leftOf(band: Band, basis: Tensor2D, order: LevelOrder): Promise<Tensor2D> {
    // Rows of length 1 keep the system well-conditioned where ranks have small singular values.
    const { lengths, scaled, gram, seen } = tidy(() => {
      const lengths = add(norm(basis, 2, 1, true), 1e-30) as Tensor2D;
      const scaled = div(basis, lengths) as Tensor2D;
      const { gram, seen } = order.weighted({
        gram: matMul(scaled, scaled, false, true) as Tensor2D,
        seen: matMul(scaled, this.targetOf(band), false, true) as Tensor2D,
      });
      return { lengths: mul(lengths, order.roots()) as Tensor2D, scaled, gram, seen };
    });
    let solved: Tensor2D | undefined;
    for (let damping = DAMPING; !solved && damping < MOST_DAMPING; damping *= 10) {
      solved = await solvePositive(gram, seen, { damping });
    }
    // Without a solution the error is that of zeros, or not finite, so that the minimization makes no step to this point.
    const found = solved ?? zerosLike(seen);
    release([scaled, gram, seen]);
    const left = tidy(() => transpose(div(found, lengths)) as Tensor2D);
    release([found, lengths]);
    return left;
  }

  private targetOf({ rows: { start, end } }: Band): Tensor2D {
    const { target } = this.problem;
    return slice(target, [start, 0], [end - start, target.shape[1]]);
  }

  private rightsOf(point: Tensor1D): (Tensor2D | undefined)[] {
    let from = 0;
    return this.factors.map((own) => {
      if (!own) return undefined;
      const part = tidy(() => reshape(slice(point, from, own.right.size), own.right.shape) as Tensor2D);
      from += own.right.size;
      return part;
    });
  }

  private async imagesOf(rights: readonly (Tensor2D | undefined)[]): Promise<(Tensor2D | undefined)[]> {
    const images: (Tensor2D | undefined)[] = [];
    for (const [tile, right] of rights.entries()) {
      const { columns } = this.problem.layout.tiles[tile] as Tile;
      images.push(right && (await this.problem.metric.fromCoordinates(right, columns)));
    }
    return images;
  }
}

/** Where the ranks of each tile of a band are among those of all its tiles. */
function placesOf({ tiles }: Band, images: readonly (Tensor2D | undefined)[]) {
  let end = 0;
  return tiles.map((tile) => {
    const rank = images[tile]?.shape[0] as number;
    end += rank;
    return { tile, from: end - rank, rank };
  });
}

function release(tensors: readonly (Tensor | undefined)[]): void {
  for (const tensor of tensors) tensor?.dispose();
}

/** Groups of columns share all rows; groups of rows have each their own. */
function bandsOf({ tiles, divides }: Layout, factors: readonly (Factors | undefined)[]): Band[] {
  const used = [...tiles.keys()].filter((tile) => factors[tile]);
  if (divides === "columns") return [{ rows: (tiles[0] as Tile).rows, tiles: used }];
  return tiles
    .map((tile, i): Band => ({ rows: tile.rows, tiles: used.filter((each) => each === 0 || each === i) }))
    .filter((band, i) => i > 0 && band.tiles.length > 0 && lengthOf(band.rows) > 0);
}
