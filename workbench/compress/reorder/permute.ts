// Moves the units of a dense model's symmetries, in place. The function of the model stays the same up to rounding,
// whatever the orders are.

import { gather, type Tensor, tensor1d, tidy, type Variable } from "@tensorflow/tfjs-core";
import { indicesOf, type Symmetry } from "../../architectures/symmetry.ts";
import { EngineError } from "../../engine/core/errors.ts";
import { heldInFloat32 } from "../../engine/ops/index.ts";
import type { Model } from "../../models/model.ts";
import { rowByRow } from "../../models/variables.ts";
import { expectDense } from "../plan.ts";

/** A symmetry and a new order of its units. */
export interface Reordering {
  symmetry: Symmetry;
  /** for each new place, the place of the unit before */
  order: ArrayLike<number>;
}

/**
 * Permutes the parameters of a model, in place. Reorderings are applied one after the other, but each parameter is
 * copied once. Weights held in half precision are held in float32 afterwards.
 * @throws EngineError when a layer is not dense, or an order does not name each unit once
 */
export function permuteModel<Config>(model: Model<Config>, reorderings: readonly Reordering[]): void {
  expectDense(model as Model);
  const axes = new Map<string, Map<number, Int32Array>>();
  for (const reordering of reorderings) compose(model as Model, reordering, axes);
  for (const [name, indices] of axes) permuteParameter(model.parameter(name), indices);
}

/** Adds a reordering to the indices of each axis: for each new index, the index before. */
function compose(model: Model, { symmetry, order }: Reordering, axes: Map<string, Map<number, Int32Array>>): void {
  const { members, size } = symmetry;
  expectOrder(symmetry, order);
  for (const member of members) {
    const { parameter, axis, each } = member;
    const own = axes.get(parameter) ?? new Map<number, Int32Array>();
    axes.set(parameter, own);
    const length = model.parameter(parameter).shape[axis] as number;
    const before = own.get(axis) ?? Int32Array.from({ length }, (_, i) => i);
    const after = before.slice();
    // Places and units follow each other in the same way, (repeats, size, each).
    const places = indicesOf(member, size);
    for (const [at, place] of places.entries()) {
      const unit = Math.floor(at / each) % size;
      const from = at + ((order[unit] as number) - unit) * each;
      after[place] = before[places[from] as number] as number;
    }
    own.set(axis, after);
  }
}

function permuteParameter(parameter: Variable, indices: ReadonlyMap<number, Int32Array>): void {
  const moved = tidy(() => {
    let values: Tensor = heldInFloat32(parameter as Tensor);
    for (const [axis, order] of indices) values = gather(values, tensor1d(order, "int32"), axis);
    return values;
  });
  tidy(() => parameter.assign(rowByRow(moved)));
}

function expectOrder({ name, size }: Symmetry, order: ArrayLike<number>): void {
  const places = new Set(Array.from(order));
  const isWhole = Array.from({ length: size }, (_, i) => places.has(i)).every(Boolean);
  if (isWhole && order.length === size) return;
  throw new EngineError(
    `the order of ${name} must name each of its ${size} units once, it has ${order.length} entries`,
    "give a permutation",
  );
}
