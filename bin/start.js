// Starts a module of this package: in the npm package its built code in this process; in a clone its source, with Bun.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = new URL("../", import.meta.url);

/**
 * @param {string} module path in the package, without extension
 * @returns the exports of the module if it was loaded into this process
 */
export async function start(module) {
  const source = new URL(`${module}.ts`, root);
  if (!existsSync(source)) return import(new URL(`dist/${module}.js`, root).href);
  if (process.versions.bun ?? process.versions.deno) return import(source.href);
  // The npm package of Bun has this name for its program on every system.
  const own = fileURLToPath(new URL("node_modules/bun/bin/bun.exe", root));
  const bun = existsSync(own) ? own : "bun";
  const child = spawn(bun, [fileURLToPath(source), ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal sends Ctrl-C to both processes.
  const hasTerminal = [process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => (signal === "SIGINT" && hasTerminal ? undefined : child.kill(signal)));
  }
  process.exitCode = await new Promise((end) => {
    child.on("error", () => {
      console.error("gblr: in a clone, this command needs Bun; run `npm install` there, or `npm install --global bun`");
      end(1);
    });
    child.on("close", (code, signal) => end(code ?? 128 + constants.signals[signal]));
  });
}
