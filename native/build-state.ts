// The state of the built addon: its path, and whether it matches its sources and libtorch. build.ts builds it.

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { MODULE_EXTENSION } from "../hub/files/about.ts";
import { fingerprint, type Libtorch } from "./libtorch.ts";

/** The folder of the addon's sources. */
export const sourceFolder = dirname(fileURLToPath(import.meta.url));
/** The folder of the built addon: `native/build`, or $GBLR_ADDON (relative to the repository) to keep several. */
export const buildFolder = resolve(sourceFolder, "..", process.env.GBLR_ADDON || "native/build");
/** Path of the file that the JavaScript runtime loads. */
export const addonPath = join(buildFolder, "gblr.node");

/** What an addon was built from, stored beside it. */
export interface Stamp {
  libtorch: Libtorch;
  sources: string;
  /** compiled with sanitizers, for tests only */
  sanitized: boolean;
}

/** Whether the addon is built and up to date. */
export type BuildState =
  | { state: "built"; stamp: Stamp }
  | { state: "missing" }
  /** `why` is one clause */
  | { state: "stale"; stamp: Stamp; why: string };

/** Whether the addon is built and matches its sources and libtorch. */
export function buildState(folder = buildFolder): BuildState {
  const stamp = existsSync(join(folder, "gblr.node")) ? readStamp(folder) : undefined;
  if (!stamp) return { state: "missing" };
  const { lib, version } = stamp.libtorch;
  const now = fingerprint(lib);
  if (!now) return { state: "stale", stamp, why: `libtorch ${version} in ${lib}, which it was built against, is gone` };
  if (now !== stamp.libtorch.fingerprint)
    return { state: "stale", stamp, why: `libtorch in ${lib} has changed since it was built against ${version}` };
  if (stamp.sources !== hashSources()) return { state: "stale", stamp, why: "its sources have changed since" };
  return { state: "built", stamp };
}

/** The path of the stamp in a folder. */
export const stampPath = (folder = buildFolder): string => join(folder, "stamp.json");

const stampSchema: z.ZodType<Stamp> = z.object({
  libtorch: z.object({
    origin: z.string(),
    include: z.array(z.string()),
    nccl: z.array(z.string()),
    lib: z.string(),
    version: z.string(),
    cuda: z.boolean(),
    fingerprint: z.string(),
  }),
  sources: z.string(),
  sanitized: z.boolean(),
});

/** Undefined if it does not exist or is invalid; the addon then counts as not built. */
function readStamp(folder: string): Stamp | undefined {
  try {
    return stampSchema.parse(JSON.parse(readFileSync(stampPath(folder), "utf8")));
  } catch {
    return undefined;
  }
}

/** Paths of the sources with an extension, relative to `sourceFolder`. */
export function sourceFiles(extension: RegExp): string[] {
  const files = readdirSync(sourceFolder, { recursive: true, encoding: "utf8" });
  return files.filter((file) => extension.test(file) && !file.startsWith(`build${sep}`)).sort();
}

/** A hash that changes when a source, or the way it is compiled, changes. */
export function hashSources(): string {
  const hash = createHash("sha256");
  for (const file of [...sourceFiles(/\.(cc|h)$/), `compile${MODULE_EXTENSION}`])
    hash.update(file).update(readFileSync(join(sourceFolder, file)));
  return hash.digest("hex");
}
