// Reorders the units of a dense model, so that the blocks of GBLR layers fit better. The function of the model stays the
// same; low rank is not affected.

import { SYMMETRY_KINDS, type Symmetry, type SymmetryKind, symmetriesOf } from "../../architectures/symmetry.ts";
import { EngineError } from "../../engine/core/errors.ts";
import type { Model } from "../../models/model.ts";
import { eventLoopTurn } from "../../structures/structure.ts";
import { expectDense } from "../plan.ts";
import { gridScore } from "./grid-score.ts";
import { type OrderScore, orderNamed } from "./orders.ts";
import { permuteModel, type Reordering } from "./permute.ts";
import { type InputPowers, layersAt, unitsOf } from "./units.ts";

/** Options of `reorderModel`. */
export interface ReorderOptions {
  /** name of the order, see orders.ts */
  order: string;
  /** kinds of units that are reordered. Default: all */
  kinds?: readonly SymmetryKind[] | undefined;
  /** mean squares of the inputs of layers. Default: 1, so that energies are those of the weights alone */
  powers?: InputPowers;
  /** makes the score by which `search` compares orders of a symmetry's units. Default: plain grids, see grid-score.ts */
  scoreOf?(symmetry: Symmetry): OrderScore;
  signal?: AbortSignal | undefined;
}

/** The units of a symmetry in their new order. */
export interface ReorderedUnits {
  name: string;
  kind: SymmetryKind;
  /** for each new place, the place before */
  order: number[];
}

/** Progress of a reordering; the last event is its result. */
export type ReorderEvent =
  | { kind: "units"; name: string; index: number; of: number }
  | { kind: "reordered"; order: string; units: ReorderedUnits[] };

/**
 * Finds an order for the units of each symmetry of a model, and permutes the model.
 * @param model dense; changed in place at the end
 * @throws EngineError when there is no such order, or the architecture has no symmetries of these kinds
 */
export async function* reorderModel(
  model: Model,
  { order, kinds = SYMMETRY_KINDS, powers = new Map(), scoreOf, signal }: ReorderOptions,
): AsyncGenerator<ReorderEvent, void> {
  const kind = orderNamed(order);
  expectDense(model);
  const chosen = symmetriesToOrder(model, kinds);
  const found: Reordering[] = [];
  for (const [index, symmetry] of chosen.entries()) {
    signal?.throwIfAborted();
    yield { kind: "units", name: symmetry.name, index, of: chosen.length };
    const score = scoreOf?.(symmetry) ?? gridScore(model, symmetry, powers);
    found.push({ symmetry, order: await kind.order(await unitsOf(model, symmetry, powers), score) });
    await eventLoopTurn();
  }
  // Each order was found in the model as it was: affinities, energies and scores of a symmetry do not depend on the
  // orders of the others.
  permuteModel(model, found);
  const units = found.map(({ symmetry: { name, kind }, order }) => ({ name, kind, order: Array.from(order) }));
  yield { kind: "reordered", order, units };
}

function symmetriesToOrder({ architecture, config }: Model, kinds: readonly SymmetryKind[]): Symmetry[] {
  const all = symmetriesOf(architecture, config).filter((symmetry) => layersAt(symmetry).length > 0);
  const chosen = all.filter(({ kind }) => kinds.includes(kind));
  if (chosen.length > 0) return chosen;
  const has = [...new Set(all.map(({ kind }) => kind))].join(", ");
  throw new EngineError(
    all.length === 0
      ? `${architecture.title} declares no units whose order is free`
      : `${architecture.title} has no free order of ${kinds.join(", ")}; it has ${has}`,
    all.length === 0 ? "leave out the reordering" : "choose one of these",
  );
}
