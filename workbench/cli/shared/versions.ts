// Determines the versions and the command line for the records of runs.

import { basename, sep } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { version_core } from "@tensorflow/tfjs-core";
import packageJson from "../../../package.json" with { type: "json" };
import type { Engine } from "../../engine/core/types.ts";

/** Versions by name: gblr, the runtime, tfjs, and the engine. */
export function versionsOf(engine: Engine): Record<string, string> {
  const runtime = (["bun", "deno"] as const).find((name) => process.versions[name] !== undefined) ?? "node";
  return {
    gblr: packageJson.version,
    [runtime]: process.versions[runtime] as string,
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
  const program = /(^|[/])gblr(\.ts)?$/.test(shown) ? "gblr" : `${RUN} ${shown}`;
  return [program, ...rest].map((word, i) => (i === 0 ? word : quoted(word))).join(" ");
}

/** Folder of the package, with a separator at its end. */
const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

const RUN = process.versions.deno === undefined ? "bun run" : "deno run -A";

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
