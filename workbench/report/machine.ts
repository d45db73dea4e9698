// Describes the machine on which a run computes, for its record: without it, times and speeds mean nothing.

import os from "node:os";
import process from "node:process";
import type { RunRecord } from "./run-record.ts";

type Machine = NonNullable<RunRecord["machine"]>;

/** The machine of this process. */
export function thisMachine(): Machine {
  return {
    processor: os.cpus()[0]?.model.trim() || "unknown",
    cores: os.availableParallelism(),
    memory: os.totalmem(),
    system: `${os.type()} ${os.release()}`,
  };
}

const KILOBYTE = 1024;

/**
 * The largest resident memory of this process since its start.
 * @returns bytes; undefined if the runtime does not report it
 */
export function peakMemory(): number | undefined {
  const kilobytes = process.resourceUsage?.().maxRSS ?? 0;
  return kilobytes > 0 ? kilobytes * KILOBYTE : undefined;
}
