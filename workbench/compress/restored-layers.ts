// Puts layers in place that other processes have converted: earlier ones of the same conversion, or those that share it.

import { setTimeout } from "node:timers/promises";
import { gathered, type Sharing } from "../distributed/shares.ts";
import { EngineError } from "../engine/core/errors.ts";
import { replaceLayer } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import { structureNamed } from "../structures/registry.ts";
import type { ConvertedLayer } from "./convert.ts";
import type { Keeper } from "./finished-layers.ts";
import type { PlannedLayer } from "./plan.ts";

/** Where finished layers are, and who shares the conversion. */
export interface Restoring extends Sharing {
  /** the finished layers on disk. Default: there are none */
  kept?: Keeper | undefined;
}

/**
 * The names of the layers that are on disk. What one process finds, others will find too, though the file system of a
 * network may show it later.
 */
export async function finishedNames(
  model: Model,
  layers: readonly PlannedLayer[],
  { kept, ranks, signal }: Restoring,
): Promise<ReadonlySet<string>> {
  const found = async () => {
    const names: string[] = [];
    for (const { name } of layers) {
      signal?.throwIfAborted();
      if (await kept?.has(model, name)) names.push(name);
    }
    return names;
  };
  return new Set((await gathered("a conversion", found, { ranks, signal })).flat());
}

/**
 * Puts layers that are on disk in place.
 * @throws EngineError if this process does not see one
 */
export async function* restored(
  model: Model,
  layers: readonly PlannedLayer[],
  kept: Keeper | undefined,
): AsyncGenerator<ConvertedLayer, void> {
  for (const layer of layers) {
    const found = await patiently(() => kept?.read(layer.name));
    if (!found) {
      throw new EngineError(
        `${layer.name}: this process does not see the layer that another one has converted`,
        "use a folder that all processes see",
      );
    }
    replaceLayer(model, layer.name, structureNamed(layer.structure).forLayer(layer, model.masks), found.parameters);
    yield found.layer;
  }
}

/** Milliseconds before each further look. */
const PAUSES = [100, 1000, 5000, 30_000];

async function patiently<Found>(look: () => Promise<Found | undefined> | undefined): Promise<Found | undefined> {
  for (const pause of PAUSES) {
    const found = await look();
    if (found !== undefined) return found;
    await setTimeout(pause);
  }
  return look();
}
