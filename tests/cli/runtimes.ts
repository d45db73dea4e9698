// The runtimes under which the command line works, for tests of verbs that run as servers.

import { spawnSync } from "node:child_process";
import path from "node:path";

export const ROOT = path.join(import.meta.dir, "../..");
export const GBLR = path.join(ROOT, "workbench/cli/gblr.ts");

/** Command lines that run a file. Node runs TypeScript from version 22.18 on. */
export const RUNTIMES: Readonly<Record<string, readonly [string, ...string[]]>> = {
  bun: [process.execPath],
  deno: [path.join(ROOT, "node_modules/.bin/deno"), "run", "-A"],
  node: [process.env.GBLR_NODE ?? "node"],
};

/** Whether a runtime is there in a version that runs the command; says why not. */
export function isPresent(runtime: string): boolean {
  const [program] = RUNTIMES[runtime] as readonly [string];
  const { stdout, status } = spawnSync(program, ["--version"], { encoding: "utf8" });
  if (status !== 0) return false;
  if (runtime !== "node") return true;
  const [major = 0, minor = 0] = stdout.slice(1).split(".").map(Number);
  const runs = major > 22 || (major === 22 && minor >= 18);
  if (!runs) console.error(`servers are not tested under Node ${stdout.trim()}: 22.18 or later is needed (GBLR_NODE)`);
  return runs;
}
