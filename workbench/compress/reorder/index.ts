// Free permutations: finds orders of units in which blocks fit better, and permutes dense models. The public surface of
// this folder.

export { SYMMETRY_KINDS, type Symmetry, type SymmetryKind } from "../../architectures/symmetry.ts";
export { type InputPowersEvent, type InputPowersOptions, inputPowers } from "./input-powers.ts";
export { ORDERS, type OrderKind, type OrderScore, orderNamed } from "./orders.ts";
export { type ReorderEvent, type ReorderedUnits, type ReorderOptions, reorderModel } from "./reorder.ts";
export type { InputPowers, Units } from "./units.ts";
