// What the processor is called and which vector instructions it has, as the kernel tells.

import { closeSync, openSync, readSync } from "node:fs";

export interface Processor {
  /** e.g. `AMD EPYC 9555` */
  name: string;
  /** as in /proc/cpuinfo, e.g. `avx2` */
  flags: readonly string[];
}

/** Enough for the first core; the file grows with every core, and so does the time to read it. */
const FIRST_CORE_BYTES = 8192;

/** The first core's. Without a name and flags where the system does not tell. */
export function inspectProcessor(): Processor {
  return parseProcessor(firstBytes("/proc/cpuinfo"));
}

/** @param text the beginning of /proc/cpuinfo */
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
