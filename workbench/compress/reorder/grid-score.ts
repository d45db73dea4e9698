// A score of orders that takes a second where a block search takes minutes: the error of the best low rank in each cell
// of a plain grid of blocks. Half of the dense multiply-adds are shared among the cells by their singular values.

import { gather, matMul, reshape, slice, type Tensor2D, type Tensor3D, tensor1d, tidy } from "@tensorflow/tfjs-core";
import type { Symmetry } from "../../architectures/symmetry.ts";
import { symmetricEigen } from "../../engine/linalg/index.ts";
import type { Model } from "../../models/model.ts";
import type { OrderScore } from "./orders.ts";
import { boundsOf, SEGMENTS } from "./swaps.ts";
import { type InputPowers, layersAt, type OfLayer, weightsOf } from "./units.ts";

/** Share of the dense multiply-adds at which grids are compared. */
const BUDGET = 0.5;

/** The squared singular values of a cell of the grid, largest first, and the cost of each in multiply-adds. */
interface Cell {
  energies: ArrayLike<number>;
  cost: number;
  /** number of entries */
  entries: number;
}

/**
 * The score of orders of a symmetry's units in a model: the mean over its layers of the share of energy that the grid
 * loses. Inputs of layers are weighted by their root mean squares.
 */
export function gridScore(model: Model, symmetry: Symmetry, powers: InputPowers): OrderScore {
  const members = layersAt(symmetry);
  const known = new Map<string, Promise<Cell[]>>();
  const cellsOf = (member: OfLayer, index: number, units: Int32Array): Promise<Cell[]> => {
    // The order within a cell does not change its singular values.
    const key = `${index}: ${units.slice().sort().join(" ")}`;
    const found = known.get(key) ?? cells(model, { member, units, size: symmetry.size, powers });
    known.set(key, found);
    return found;
  };
  return async (order) => {
    let lost = 0;
    for (const [index, member] of members.entries()) {
      const own: Cell[] = [];
      for (const [from, to] of boundsOf(order.length, Math.min(SEGMENTS, order.length))) {
        own.push(...(await cellsOf(member, index, order.slice(from, to))));
      }
      lost += lostShare(own);
    }
    return lost / members.length;
  };
}

interface CellOptions {
  member: OfLayer;
  /** the units in the cell */
  units: Int32Array;
  /** number of all units */
  size: number;
  powers: InputPowers;
}

/** The cells of some units, one for each occurrence of the units. */
async function cells(model: Model, { member, units, size, powers }: CellOptions): Promise<Cell[]> {
  const { each, repeats } = member;
  const grams = tidy(() => {
    const all = weightsOf(model, member, { size, powers });
    const length = all.shape[2];
    const rows = gather(reshape(all, [repeats, size, each * length]), tensor1d(units, "int32"), 1);
    const own = reshape(rows, [repeats, units.length * each, length]) as Tensor3D;
    const isFlat = units.length * each <= length;
    const products = matMul(own, own, !isFlat, isFlat) as Tensor3D;
    const [, side] = products.shape;
    return Array.from(
      { length: repeats },
      (_, i) => reshape(slice(products, [i, 0, 0], [1, side, side]), [side, side]) as Tensor2D,
    );
  });
  const [rows, columns] = [units.length * each, model.parameter(member.parameter).size / lengthOf(model, member)];
  const found: Cell[] = [];
  for (const gram of grams) {
    const { values, vectors } = await symmetricEigen(gram);
    found.push({ energies: await values.data(), cost: rows + columns, entries: rows * columns });
    for (const tensor of [gram, values, vectors]) tensor.dispose();
  }
  return found;
}

const lengthOf = (model: Model, { parameter, axis }: OfLayer): number =>
  model.parameter(parameter).shape[axis] as number;

/** The share of the energy of all cells that remains if the budget is spent on the most energy for its cost. */
function lostShare(all: readonly Cell[]): number {
  const triples = all.flatMap(({ energies, cost }) =>
    Array.from(energies, (energy) => ({ energy: Math.max(0, energy), cost })),
  );
  const total = triples.reduce((sum, { energy }) => sum + energy, 0);
  let [kept, left] = [0, BUDGET * all.reduce((sum, { entries }) => sum + entries, 0)];
  for (const { energy, cost } of triples.sort((a, b) => b.energy / b.cost - a.energy / a.cost)) {
    if (cost > left) continue;
    left -= cost;
    kept += energy;
  }
  return total === 0 ? 0 : 1 - kept / total;
}
