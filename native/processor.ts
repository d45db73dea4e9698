// The processor's name and its vector instructions, as the Linux kernel reports them.

import { closeSync, openSync, readSync } from "node:fs";

/** The name and vector instructions of a processor. */
export interface Processor {
  /** e.g. `AMD EPYC 9555` */
  name: string;
  /** as in /proc/cpuinfo, e.g. `avx2` */
  flags: readonly string[];
}

/**
 * Number of bytes to read, enough for the first core. The size of the file and the time to read it grow with the number
 * of cores.
 */
const FIRST_CORE_BYTES = 8192;

/** The processor of the first core; name and flags are empty where the system does not report them. */
export function inspectProcessor(): Processor {
  return parseProcessor(firstBytes("/proc/cpuinfo"));
}

/**
 * Reads the name and the vector instructions of the first core.
 * @param text the beginning of /proc/cpuinfo
 */
export function parseProcessor(text: string): Processor {
  const field = (name: string) => text.match(new RegExp(`^${name}\\s*: (.*)$`, "m"))?.[1]?.trim() ?? "";
  return { name: field("model name"), flags: field("flags").split(/\s+/).filter(Boolean) };
}

function firstBytes(file: string): string {
  try {
    const descriptor = openSync(file, "r");
    try {
      const bytes = new Uint8Array(FIRST_CORE_BYTES);
      return new TextDecoder().decode(bytes.subarray(0, readSync(descriptor, bytes)));
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return "";
  }
}
