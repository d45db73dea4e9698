// The overlap counts of a whole matrix in one array, for tests with small matrices.

import { overlapRows } from "../../workbench/report/block-layout.ts";
import type { BlockLayout } from "../../workbench/structures/structure.ts";

/** Number of blocks over each entry, (n_out, n_in) row by row. */
export function overlapCounts(layout: BlockLayout): Int32Array {
  // The generator yields one array again and again: each row is copied when it comes.
  return Int32Array.from(Array.from(overlapRows(layout), (row) => [...row]).flat());
}
