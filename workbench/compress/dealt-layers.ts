// How processes share the layers of a conversion: by what each costs to convert, so that all end at about the same time.

import { isDense } from "../../hub/model-folder/index.ts";
import type { ProcessGroup } from "../distributed/process-group.ts";
import { dealtBySize } from "../distributed/shares.ts";
import type { PlannedLayer } from "./plan.ts";

/** Layers of each process between two times at which they wait for each other. */
const LAYERS_EACH = 8;

/** Cuts a group of layers into parts, so that no process waits long for another one. */
export function cut<Layer>(group: readonly Layer[], size: number): Layer[][] {
  const most = LAYERS_EACH * size;
  return Array.from({ length: Math.ceil(group.length / most) }, (_, i) => group.slice(i * most, (i + 1) * most));
}

/** The layers of this process, and those of the others, in their order. Dense layers are done by all. */
export function dealt(
  layers: readonly PlannedLayer[],
  ranks: Pick<ProcessGroup, "rank" | "size"> | undefined,
): { own: PlannedLayer[]; others: PlannedLayer[] } {
  const own = new Set(layers);
  if (ranks) {
    const structured = layers.filter(({ structure }) => !isDense(structure));
    for (const [i, rank] of dealtBySize(structured.map(workOf), ranks.size).entries()) {
      if (rank !== ranks.rank) own.delete(structured[i] as PlannedLayer);
    }
  }
  return { own: layers.filter((layer) => own.has(layer)), others: layers.filter((layer) => !own.has(layer)) };
}

/** Operations of a decomposition, to which the work of all structures is roughly proportional. */
const workOf = ({ nIn, nOut }: PlannedLayer): number => nIn * nOut * Math.min(nIn, nOut);
