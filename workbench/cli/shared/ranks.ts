// The processes of a launcher, such as torchrun, that this one is one of, and the engine with which it joins them.

import process from "node:process";
import { gpuOf, type Place, placeOf } from "../../distributed/place.ts";
import { BACKENDS, type JoinOptions, ProcessGroup } from "../../distributed/process-group.ts";
import { EngineError } from "../../engine/core/errors.ts";
import { countGpus } from "../../engine/core/open.ts";
import type { Engine, OpenEngineOptions } from "../../engine/core/types.ts";
import { openEngineFor } from "./options.ts";
import { UsageError } from "./program.ts";

/**
 * Opens the engine, and joins the other processes of the launcher if there are any.
 * @throws EngineError if the engine has no process groups, or the others cannot be met; UsageError if GBLR_RANKS_TIMEOUT
 * is not a number of seconds, or GBLR_RANKS_BACKEND no backend
 */
export async function openEngineAndJoin(
  flags: OpenEngineOptions,
): Promise<{ engine: Engine; ranks: ProcessGroup | undefined }> {
  const place = severalOf(process.env);
  const options = place ? joinOptionsOf(process.env) : {};
  const engine = await openEngineFor(place ? await deviceOf(flags, place) : flags);
  return { engine, ranks: place && (await join(place, engine, options)) };
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

/** Of several processes on a machine with GPUs, each has the GPU of its local rank, unless it was told which device. */
async function deviceOf(flags: OpenEngineOptions, place: Place): Promise<OpenEngineOptions> {
  const { engine = "auto", device } = flags;
  const prefersGpu = device === undefined && (engine === "auto" || engine === "torch") && (await countGpus()) > 0;
  return prefersGpu || device === "cuda" ? { ...flags, device: `cuda:${gpuOf(process.env, place)}` } : flags;
}

async function join(place: Place, engine: Engine, options: JoinOptions): Promise<ProcessGroup> {
  if (engine.name !== "torch") {
    throw new EngineError(
      `${place.size} processes share their work with the engine "torch" only, and this one has "${engine.name}"`,
      "build the native engine, or start one process",
    );
  }
  return ProcessGroup.join(place, { ...options, device: engine.device });
}

function joinOptionsOf({ GBLR_RANKS_TIMEOUT: seconds, GBLR_RANKS_BACKEND: name }: NodeJS.ProcessEnv): JoinOptions {
  const backend = BACKENDS.find((known) => known === name);
  if (name && !backend) {
    throw new UsageError(`GBLR_RANKS_BACKEND is ${JSON.stringify(name)}; give ${BACKENDS.join(" or ")}`);
  }
  return { ...(seconds ? timeoutOf(seconds) : {}), ...(backend ? { backend } : {}) };
}

/** The clocks of libtorch count nanoseconds in 64 bits: with some hundred years, nobody would be waited for. */
const YEAR = 31_536_000;

function timeoutOf(text: string): { timeout: number } {
  const timeout = Number(text);
  if (timeout >= 1 && timeout <= YEAR) return { timeout };
  throw new UsageError(`GBLR_RANKS_TIMEOUT is ${JSON.stringify(text)}; give a number of seconds from 1 to ${YEAR}`);
}
