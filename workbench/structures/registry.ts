// The registry of structures, by name. It contains the structures of the workbench; others can be registered.

import { registerStoredStructure } from "../../hub/model-folder/index.ts";
import { EngineError, expectName } from "../engine/core/errors.ts";
import { blast } from "./blast.ts";
import { blockSparse } from "./block-sparse.ts";
import { blockLowRank, btt, monarch } from "./blocks.ts";
import { dense } from "./dense.ts";
import { gblr } from "./gblr.ts";
import { packed } from "./inference/packed.ts";
import { lowrank } from "./lowrank.ts";
import { pifa } from "./pifa.ts";
import { semiStructured, unstructured } from "./pruned.ts";
import type { Structure, StructureKind } from "./structure.ts";
import { tuckerKind } from "./tucker.ts";

const registry = new Map<string, StructureKind>(
  [
    gblr,
    lowrank,
    pifa,
    btt,
    monarch,
    blockLowRank,
    blast,
    blockSparse,
    unstructured,
    semiStructured,
    tuckerKind,
    dense,
    packed,
  ].map((structure) => [structure.name, kindOf(structure)]),
);

/** The kind of a structure. A structure without `forLayer` is the same for all layers. */
function kindOf(structure: Structure | StructureKind): StructureKind {
  return structure.forLayer ? (structure as StructureKind) : { ...structure, forLayer: () => structure as Structure };
}

/** Structures that layers can be converted to, in the order in which they were registered. */
export const structures = (): StructureKind[] => [...registry.values()].filter(({ isStoredOnly }) => !isStoredOnly);

/**
 * The structure of this name.
 * @throws EngineError such as `there is no structure "lowrnk"; available: gblr, lowrank, …`
 */
export function structureNamed(name: string): StructureKind {
  const found = registry.get(name);
  if (found) return found;
  const names = structures().map((structure) => structure.name);
  throw new EngineError(`there is no structure "${name}"; available: ${names.join(", ")}`, "use one of these");
}

/**
 * Registers a structure, so that conversion, training, files, tables, cards and the written Python files support it.
 * @public
 * @returns a function that removes it again
 * @throws EngineError when the name is taken, is not a valid name, or differs from the one in files
 */
export function registerStructure(structure: Structure | StructureKind): () => void {
  const { name, stored } = structure;
  expectName("structure", name);
  if (stored?.name !== name) {
    throw new EngineError(`structure "${name}" has the name "${stored?.name}" in files`, "use one name for both");
  }
  if (registry.has(name)) throw new EngineError(`the structure "${name}" exists already`, "choose another name");
  const forget = registerStoredStructure(stored);
  registry.set(name, kindOf(structure));
  return () => {
    registry.delete(name);
    forget();
  };
}
