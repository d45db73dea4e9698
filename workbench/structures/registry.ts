// The structures of linear layers by name. A new one is a line here. Convolutions: tucker.ts.

import { EngineError } from "../engine/core/errors.ts";
import { blockLowRank } from "./block-low-rank.ts";
import { blockSparse } from "./block-sparse.ts";
import { dense } from "./dense.ts";
import { gblr } from "./gblr.ts";
import { lowrank } from "./lowrank.ts";
import { monarch } from "./monarch.ts";
import type { Structure } from "./structure.ts";

export const STRUCTURES: readonly Structure[] = [dense, gblr, lowrank, monarch, blockLowRank, blockSparse];

/** @throws EngineError such as `there is no structure "lowrnk": there is dense, gblr, …` */
export function structureNamed(name: string): Structure {
  const found = STRUCTURES.find((structure) => structure.name === name);
  if (!found) {
    const names = STRUCTURES.map((structure) => structure.name).join(", ");
    throw new EngineError(`there is no structure "${name}": there is ${names}`, "give one of these names");
  }
  return found;
}
