// Nested sizes in the fit of all tiles at once: level j is the matrix of the first ranks of each tile, and a weighted sum
// of the squared errors of all levels is minimized. Here ranks are put in the order of their levels, so that a level is
// the sum of the first ranks. docs/method.md derives the weights of the system for left factors. One level with all ranks
// is the plain fit.

import {
  add,
  addN,
  concat,
  gather,
  matMul,
  mul,
  type Scalar,
  slice,
  square,
  sub,
  sum,
  type Tensor2D,
  tensor1d,
  tensor2d,
  zerosLike,
} from "@tensorflow/tfjs-core";

/** One of several nested sizes: the matrix of the first ranks of each tile, and the weight of its squared error. */
export interface NestedLevel {
  /** of each tile, at least those of the level before */
  ranks: readonly number[];
  weight: number;
}

/** The ranks of a band in the order of their levels. Functions create tensors, which the caller disposes of. */
export interface LevelOrder {
  /** by level: its weight and the number of ranks that it adds */
  levels: readonly { weight: number; added: number }[];
  /** rows in the order of levels */
  sorted(rows: Tensor2D): Tensor2D;
  /** the inverse of `sorted`, along an axis */
  restored(matrix: Tensor2D, axis: 0 | 1): Tensor2D;
  /** the matrix and the right side of the system for left factors, scaled so that the diagonal stays 1 */
  weighted(system: { gram: Tensor2D; seen: Tensor2D }): { gram: Tensor2D; seen: Tensor2D };
  /** by what the solution of the weighted system is divided, (ranks, 1) */
  roots(): Tensor2D;
}

/** @param places the tiles of a band with the number of their ranks */
export function levelOrder(
  levels: readonly NestedLevel[] | undefined,
  places: readonly { tile: number; rank: number }[],
): LevelOrder {
  const all = places.reduce((total, { rank }) => total + rank, 0);
  if (levels === undefined) {
    const same = (matrix: Tensor2D) => matrix.clone();
    return {
      levels: [{ weight: 1, added: all }],
      sorted: same,
      restored: same,
      weighted: (system) => system,
      roots: () => tensor2d([1], [1, 1]),
    };
  }
  const own = places.flatMap(({ tile, rank }) =>
    Array.from({ length: rank }, (_, r) => levels.findIndex(({ ranks }) => r < (ranks[tile] as number))),
  );
  const order = Array.from(own.keys()).sort((a, b) => (own[a] as number) - (own[b] as number));
  const back = new Int32Array(all);
  for (const [to, from] of order.entries()) back[from] = to;
  const indices = (values: ArrayLike<number>) => tensor1d(Int32Array.from(values), "int32");
  // the sum of the weights of the levels that contain a rank
  const shares = levels.map((_, j) => levels.slice(j).reduce((total, { weight }) => total + weight, 0));
  const roots = () =>
    tensor2d(
      order.map((rank) => Math.sqrt(shares[own[rank] as number] as number)),
      [all, 1],
    );
  return {
    levels: levels.map(({ weight }, j) => ({ weight, added: own.filter((level) => level === j).length })),
    sorted: (rows) => gather(rows, indices(order)),
    restored: (matrix, axis) => gather(matrix, indices(back), axis),
    weighted: ({ gram, seen }) => {
      const values = order.map((rank) => shares[own[rank] as number] as number);
      const weights = new Float32Array(all * all);
      for (let a = 0; a < all; a++) {
        for (let b = 0; b < all; b++) {
          const [x, y] = [values[a] as number, values[b] as number];
          weights[a * all + b] = Math.sqrt(Math.min(x, y) / Math.max(x, y));
        }
      }
      return { gram: mul(gram, tensor2d(weights, [all, all])), seen: mul(seen, roots()) };
    },
    roots,
  };
}

/**
 * The weighted sum of the squared errors of all levels, and its derivative by the rows of the basis.
 * @param target (rows, n_in)
 * @param basis (ranks, n_in), and `left` (rows, ranks), in the order of levels
 */
export function nestedError({
  target,
  basis,
  left,
  order,
}: {
  target: Tensor2D;
  basis: Tensor2D;
  left: Tensor2D;
  order: LevelOrder;
}): { value: Scalar; slope: Tensor2D } {
  const [values, rests]: [Scalar[], Tensor2D[]] = [[], []];
  const parts: Tensor2D[] = [];
  let [rest, at] = [target, 0];
  for (const { weight, added } of order.levels) {
    const part = slice(left, [0, at], [-1, added]);
    if (added > 0) rest = sub(rest, matMul(part, slice(basis, [at, 0], [added, -1])));
    values.push(mul(sum(sum(square(rest), 1)), weight) as Scalar);
    rests.push(mul(rest, weight));
    parts.push(part);
    at += added;
  }
  const slopes: Tensor2D[] = [];
  let felt = zerosLike(target);
  for (let level = rests.length - 1; level >= 0; level--) {
    felt = add(felt, rests[level] as Tensor2D);
    const part = parts[level] as Tensor2D;
    if (part.shape[1] > 0) slopes.unshift(mul(matMul(part, felt, true), -2));
  }
  return { value: addN(values), slope: concat(slopes, 0) };
}
