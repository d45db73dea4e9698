// Builds a structure from its description in files and the few functions that have no default. The rest have defaults.
// Most structures use it; docs/add-a-structure.md shows an example.

import { tidy } from "@tensorflow/tfjs-core";
import type { StoredStructure } from "../../hub/model-folder/index.ts";
import { linear } from "../engine/ops/index.ts";
import { parametersNamed, type Structure } from "./structure.ts";

/** The members that have no default. */
type Required = "fromDense" | "costWithin" | "dense";

/** A structure's own members; the members of `Structure` that are not given have the defaults below. */
export type StructureDefinition<Options extends object> = Pick<Structure<Options>, Required> &
  Partial<Omit<Structure<Options>, Required | "name" | "stored">>;

/**
 * Builds a structure. Defaults: `parameterNames` in the order of `stored.parts`; `apply` multiplies with the matrix
 * that `dense` returns; `cost` is one multiply-add for each value of the parameters.
 * @param stored the structure as files describe it, which also gives its name
 */
export function defineStructure<Options extends object = object>(
  stored: StoredStructure,
  definition: StructureDefinition<Options>,
): Structure<Options> {
  const parameterNames = Object.keys(stored.parts ?? {});
  return {
    name: stored.name,
    stored,
    parameterNames,
    apply: (parameters, x) => tidy(() => linear(x, definition.dense(parameters))),
    async cost(parameters) {
      const tensors = Object.values(parametersNamed(stored.name, parameters, parameterNames));
      return tensors.reduce((total, { size }) => total + size, 0);
    },
    ...definition,
  };
}
