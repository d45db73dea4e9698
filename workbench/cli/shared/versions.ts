// Determines the versions and the command line for the records of runs.

import { basename, sep } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { version_core } from "@tensorflow/tfjs-core";
import { ABOUT } from "../../../hub/files/about.ts";
import type { Engine } from "../../engine/core/types.ts";

/** The runtime that runs this. Bun and Deno have a version of Node, too. */
const RUNTIME = (["bun", "deno"] as const).find((name) => process.versions[name] !== undefined) ?? "node";

/** Versions by name: gblr, the runtime, tfjs, and the engine. */
export function versionsOf(engine: Engine): Record<string, string> {
  return {
    gblr: ABOUT.version,
    [RUNTIME]: process.versions[RUNTIME] as string,
    tfjs: version_core,
    [engine.name]: engine.version,
  };
}

/**
 * The command line as typed, with quotes where a shell needs them. The path of a script in this package is relative to
 * the package.
 */
export function commandLine(argv: readonly string[] = process.argv): string {
  const [, script = "", ...rest] = argv;
  const inside = [ROOT, `${process.cwd()}${sep}`].find((folder) => script.startsWith(folder)) ?? "";
  const shown = inside === "" ? basename(script) : script.slice(inside.length).split(sep).join("/");
  const program = /(^|[/])gblr(\.[jt]s)?$/.test(shown) ? "gblr" : `${RUN} ${shown}`;
  return [program, ...rest].map((word, i) => (i === 0 ? word : quoted(word))).join(" ");
}

/** Folder of the package, with a separator at its end. */
const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** How the runtime that runs this is called to run a script. */
const RUN = { bun: "bun run", deno: "deno run -A", node: "node" }[RUNTIME];

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
