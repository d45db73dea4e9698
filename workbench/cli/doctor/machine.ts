// The machine as the runtime sees it. What its engines see of it (devices, libraries) is not here.

import { readFileSync } from "node:fs";
import os from "node:os";
import process from "node:process";
import type { Machine } from "./report.ts";

export function inspectMachine(): Machine {
  return {
    runtime: runtimeOf(process.versions),
    system: distribution() ?? os.type(),
    kernel: `${os.type()} ${os.release()}`,
    architecture: os.arch(),
    cpu: os.cpus()[0]?.model.trim() || "unknown",
    cores: os.availableParallelism(),
    memory: os.totalmem(),
  };
}

/** Bun and Deno also claim a Node version, the one whose modules they offer. */
function runtimeOf(versions: Readonly<Record<string, string | undefined>>): Machine["runtime"] {
  if (versions.bun !== undefined) return { name: "Bun", version: versions.bun };
  if (versions.deno !== undefined) return { name: "Deno", version: versions.deno };
  return { name: "Node", version: versions.node ?? "unknown" };
}

/** Linux distributions name themselves in os-release(5). */
function distribution(): string | undefined {
  try {
    return /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  } catch {
    return undefined;
  }
}
