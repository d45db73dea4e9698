// The structures that need no layer to compute: all but those of kernels, of loaded files, and of pruned matrices, which
// published.test.ts tests.

import { blast } from "../../workbench/structures/blast.ts";
import { blockSparse } from "../../workbench/structures/block-sparse.ts";
import { blockLowRank, btt, monarch } from "../../workbench/structures/blocks.ts";
import { dense } from "../../workbench/structures/dense.ts";
import { gblr } from "../../workbench/structures/gblr.ts";
import { lowrank } from "../../workbench/structures/lowrank.ts";
import { pifa } from "../../workbench/structures/pifa.ts";
import { structureNamed } from "../../workbench/structures/registry.ts";
import type { Structure } from "../../workbench/structures/structure.ts";

export const STRUCTURES: readonly Structure[] = [
  dense,
  gblr,
  lowrank,
  pifa,
  btt,
  monarch,
  blockLowRank,
  blast,
  blockSparse,
];

/** As the registry gives it for any linear layer. */
export const matrixStructure = (name: string): Structure =>
  structureNamed(name).forLayer({ name: "layer", nIn: 1, nOut: 1 }, {});
