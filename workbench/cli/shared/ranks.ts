// The processes of a launcher, such as torchrun, that this one is one of, and the engine with which it joins them.

import process from "node:process";
import { type Place, placeOf } from "../../distributed/place.ts";
import { ProcessGroup } from "../../distributed/process-group.ts";
import { EngineError } from "../../engine/core/errors.ts";
import type { Engine, OpenEngineOptions } from "../../engine/core/types.ts";
import { openEngineFor } from "./options.ts";
import { UsageError } from "./program.ts";

/**
 * Opens the engine, and joins the other processes of the launcher if there are any.
 * @throws EngineError if the engine has no process groups, or the others cannot be met
 */
export async function openEngineAndJoin(
  flags: OpenEngineOptions,
): Promise<{ engine: Engine; ranks: ProcessGroup | undefined }> {
  const place = severalOf(process.env);
  const engine = await openEngineFor(place ? deviceOf(flags, place) : flags);
  return { engine, ranks: place && (await join(place, engine)) };
}

/** @throws UsageError if a launcher has started several processes */
export function expectOneProcess(work: string): void {
  if (severalOf(process.env)) throw new UsageError(`${work} works in one process only; start one`);
}

/** The place of this process, if it is one of several. */
function severalOf(environment: NodeJS.ProcessEnv): Place | undefined {
  const place = placeOf(environment);
  return place && place.size > 1 ? place : undefined;
}

/** Of several processes on a machine with GPUs, each has the GPU of its local rank. */
const deviceOf = (flags: OpenEngineOptions, { localRank }: Place): OpenEngineOptions =>
  flags.device === "cuda" ? { ...flags, device: `cuda:${localRank}` } : flags;

async function join(place: Place, engine: Engine): Promise<ProcessGroup> {
  if (engine.name !== "torch") {
    throw new EngineError(
      `${place.size} processes share their work with the engine "torch" only, and this one has "${engine.name}"`,
      "build the native engine, or start one process",
    );
  }
  return ProcessGroup.join(place);
}
