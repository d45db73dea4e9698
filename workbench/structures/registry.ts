// The structures that there are, by name. Those of the workbench are here from the start; others register.

import { registerStoredStructure } from "../../hub/model-folder/index.ts";
import { EngineError } from "../engine/core/errors.ts";
import { blockSparse } from "./block-sparse.ts";
import { blockLowRank, monarch } from "./blocks.ts";
import { dense } from "./dense.ts";
import { gblr } from "./gblr.ts";
import { lowrank } from "./lowrank.ts";
import { packed } from "./packed.ts";
import type { Structure, StructureKind } from "./structure.ts";
import { tuckerKind } from "./tucker.ts";

const registry = new Map<string, StructureKind>(
  [gblr, lowrank, monarch, blockLowRank, blockSparse, tuckerKind, dense, packed].map((structure) => [
    structure.name,
    kindOf(structure),
  ]),
);

/** A structure that does not depend on its layer is its own kind. */
function kindOf(structure: Structure | StructureKind): StructureKind {
  return structure.forLayer ? (structure as StructureKind) : { ...structure, forLayer: () => structure as Structure };
}

/** Structures that layers can be converted to, in the order in which they were registered. */
export const structures = (): StructureKind[] => [...registry.values()].filter(({ isStoredOnly }) => !isStoredOnly);

/** @throws EngineError such as `there is no structure "lowrnk": there is gblr, lowrank, …` */
export function structureNamed(name: string): StructureKind {
  const found = registry.get(name);
  if (found) return found;
  const names = structures().map((structure) => structure.name);
  throw new EngineError(`there is no structure "${name}": there is ${names.join(", ")}`, "give one of these names");
}

/**
 * Makes a structure known: to conversion, training, files, tables, cards and the Python files that are written.
 * @public
 * @returns its inverse
 * @throws EngineError when there is one of that name
 */
export function registerStructure(structure: Structure | StructureKind): () => void {
  const { name, stored } = structure;
  if (registry.has(name)) throw new EngineError(`there is a structure "${name}" already`, "choose another name");
  const forget = registerStoredStructure(stored);
  registry.set(name, kindOf(structure));
  return () => {
    registry.delete(name);
    forget();
  };
}
