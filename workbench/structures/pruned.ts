// Pruned matrices, as reference points at equal numbers of parameters: `unstructured` keeps any entries, and
// `semi-structured` keeps 2 of each 4 adjacent entries of a row, which some GPUs multiply faster. They are stored with
// their zeros, and a product with them on the engines of this package takes as long as a dense one.

import { cast, clone, mul, notEqual, type Tensor, type Tensor2D, tensor2d, tidy } from "@tensorflow/tfjs-core";
import { STORED_SEMI_STRUCTURED, STORED_UNSTRUCTURED, type StoredStructure } from "../../hub/model-folder/index.ts";
import { differentiable } from "../engine/ops/op.ts";
import { expectOperand } from "../engine/ops/operands.ts";
import { allowance, expectPaid, type MatrixSize } from "./budget.ts";
import { defineStructure } from "./define.ts";
import { refittedToOutputs } from "./fit/activation-start.ts";
import { magnitudes } from "./fit/input-scale.ts";
import {
  expectCovariance,
  parametersNamed,
  type SearchProgress,
  type StartedLayer,
  type StartOptions,
  type Structure,
  type StructureParameters,
} from "./structure.ts";

/** The differences between the structures. */
interface PrunedRule {
  stored: StoredStructure;
  costWithin: (size: MatrixSize, budget: number) => number;
  /** multiply-adds per row */
  costOf: (size: MatrixSize, read: () => Promise<ArrayLike<number>>) => Promise<number>;
  /** @param options.byRow whether entries are compared within a row, as Wanda does. Default false */
  groupsFor: (size: MatrixSize, options: { allowed: number; byRow?: boolean }) => Groups;
}

/**
 * Groups of `length` adjacent entries, each of which keeps its `kept` largest scores. Groups begin anew in each row,
 * unless one group is the whole matrix.
 */
interface Groups {
  length: number;
  kept: number;
}

/** Parameter: `entries` (n_out, n_in). Entries that are 0 have no gradient, so that training keeps them 0. */
function prunedStructure({ stored, costWithin, costOf, groupsFor }: PrunedRule): Structure {
  const { name } = stored;
  const entriesOf = (parameters: StructureParameters): Tensor2D => {
    const { entries } = parametersNamed(name, parameters, ["entries"]);
    expectOperand(name, { entries }, { dtype: "float32", shape: ["n_out", "n_in"] });
    return entries as Tensor2D;
  };

  /**
   * Wanda (Sun et al., ICLR 2024, arXiv 2306.11695): an entry's score is its absolute value times the root mean square
   * of its input, and scores are compared within a row of the matrix.
   */
  async function* wanda(weight: Tensor2D, options: StartOptions): AsyncGenerator<SearchProgress, StartedLayer> {
    const { layer, covariance } = options;
    const scale = magnitudes(expectCovariance(layer, covariance, "wanda"));
    const scores = tidy(() => mul<Tensor2D>(weight, scale));
    const entries = await pruned(weight, scores, groupsFor(layer, { allowed: layer.allowed, byRow: true }));
    scale.dispose();
    scores.dispose();
    return { parameters: { entries }, by: "wanda" };
  }

  return defineStructure(stored, {
    hasRank: false,
    keepsZeros: true,
    costWithin,

    /** Magnitude pruning: the nearest matrix of this kind keeps the largest entries. */
    async fromDense(weight, budget) {
      expectOperand(name, { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
      const [nOut, nIn] = weight.shape;
      const size = { nOut, nIn };
      const allowed = allowance(name, budget, size);
      costWithin(size, budget);
      return { entries: await pruned(weight, weight, groupsFor(size, { allowed })) };
    },

    dense: (parameters) => withoutGradientOfZeros(entriesOf(parameters)),

    async cost(parameters) {
      const entries = entriesOf(parameters);
      const [nOut, nIn] = entries.shape;
      return costOf({ nOut, nIn }, () => entries.data());
    },

    inspect: async (layer) => ({ cost: await costOf(layer, async () => (await layer.readPart?.("entries")) ?? []) }),

    scaleInputs: ({ entries }, scale) => ({ entries: mul(entries as Tensor, scale) }),

    starts: { activation: refittedToOutputs, wanda },
  });
}

/** Any entries of the matrix, or with Wanda equally many in each row. */
export const unstructured = prunedStructure({
  stored: STORED_UNSTRUCTURED,
  costWithin(size, budget) {
    const { nOut, nIn } = size;
    const cost = Math.min(nOut * nIn, Math.max(nOut, allowance(STORED_UNSTRUCTURED.name, budget, size)));
    expectPaid({ structure: STORED_UNSTRUCTURED.name, what: "one entry a row", cost, budget, nOut, nIn });
    return cost;
  },
  costOf: async (_, read) => Array.from(await read()).filter((entry) => entry !== 0).length,
  groupsFor: ({ nOut, nIn }, { allowed, byRow = false }) =>
    byRow
      ? { length: nIn, kept: Math.min(nIn, Math.floor(allowed / nOut)) }
      : { length: nOut * nIn, kept: Math.min(nOut * nIn, allowed) },
});

/** Entries of a row in a group, and how many of them are kept. */
const [GROUP, KEPT] = [4, 2];

/** 2 of each 4 adjacent entries of a row; where a row ends within a group, at most 2 of the rest. */
export const semiStructured = prunedStructure({
  stored: STORED_SEMI_STRUCTURED,
  costWithin(size, budget) {
    const cost = halfOf(size);
    expectPaid({ structure: STORED_SEMI_STRUCTURED.name, what: `${KEPT} of ${GROUP} entries`, cost, budget, ...size });
    return cost;
  },
  costOf: async (size) => halfOf(size),
  groupsFor: () => ({ length: GROUP, kept: KEPT }),
});

const halfOf = ({ nOut, nIn }: MatrixSize): number =>
  nOut * (Math.floor(nIn / GROUP) * KEPT + Math.min(KEPT, nIn % GROUP));

/** The matrix itself; the gradient is 0 where it is 0. */
function withoutGradientOfZeros(entries: Tensor2D): Tensor2D {
  return differentiable({
    name: "prunedEntries",
    inputs: { entries },
    forward: () => ({ value: clone(entries), saved: [entries] }),
    backward: (dy, [saved]) => ({ entries: () => mul(dy, cast(notEqual(saved as Tensor, 0), "float32")) }),
  }) as Tensor2D;
}

/** The entries of a matrix with the largest absolute scores of each group, and zeros elsewhere. */
async function pruned(weight: Tensor2D, scores: Tensor2D, { length, kept }: Groups): Promise<Tensor2D> {
  const [nOut, nIn] = weight.shape;
  const [values, sizes] = [await weight.data(), (await scores.data()).map(Math.abs) as Float32Array];
  const entries = new Float32Array(values.length);
  const row = Math.max(nIn, length);
  for (let from = 0; from < values.length; from += row) {
    for (let start = from; start < from + row; start += length) {
      const group = sizes.subarray(start, Math.min(start + length, from + row));
      for (const at of largest(group, kept)) entries[start + at] = values[start + at] as number;
    }
  }
  return tensor2d(entries, [nOut, nIn]);
}

/** Places of the largest values; of equal ones, the first. */
function largest(values: Float32Array, count: number): number[] {
  const threshold = values.toSorted()[values.length - count] ?? 0;
  const above: number[] = [];
  const equal: number[] = [];
  values.forEach((value, at) => {
    if (value > threshold) above.push(at);
    else if (value === threshold) equal.push(at);
  });
  return count >= values.length ? [...values.keys()] : [...above, ...equal.slice(0, count - above.length)];
}
