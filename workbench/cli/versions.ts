// Which versions are at work, for records of what was run.

import process from "node:process";
import { version_core } from "@tensorflow/tfjs-core";
import packageJson from "../../package.json" with { type: "json" };
import type { Engine } from "../engine/types.ts";

/** By name: gblr, the runtime, tfjs, and what the engine computes with. */
export function versionsOf(engine: Engine): Record<string, string> {
  const runtime = (["bun", "deno"] as const).find((name) => process.versions[name] !== undefined) ?? "node";
  return {
    gblr: packageJson.version,
    [runtime]: process.versions[runtime] as string,
    tfjs: version_core,
    [engine.name]: engine.version,
  };
}

/** The command line as typed, with paths as seen from here and quotes where a shell needs them. */
export function commandLine(argv: readonly string[] = process.argv): string {
  const [, script = "", ...rest] = argv;
  const here = `${process.cwd()}/`;
  const shown = script.startsWith(here) ? script.slice(here.length) : (script.split(/[\\/]/).at(-1) as string);
  const program = shown.endsWith("cli/gblr.ts") || shown === "gblr" ? "gblr" : `bun run ${shown}`;
  return [program, ...rest.map(quoted)].join(" ");
}

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
