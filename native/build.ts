// Builds the addon against the libtorch of this machine: `bun native/build.ts [--force] [--sanitize]
// [--install]`. Does nothing when the built addon is up to date. With --install (run by the package manager) it never
// fails: on a machine without a compiler or libtorch it prints one line, and the wasm engine is used. $GBLR_ADDON names
// another build folder.

import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { BUILD_COMMAND } from "../hub/files/about.ts";
import { kernelsFor } from "./blas/kernel-record.ts";
import { buildState } from "./build-state.ts";
import { build, type CompileOptions, compiler } from "./compile.ts";
import { findLibtorch, type Libtorch } from "./libtorch.ts";

const PLATFORMS: Record<string, string> = { darwin: "macOS", linux: "Linux", win32: "Windows" };

/** The reason why the addon cannot be built on a platform; undefined if it can. */
export function unsupported(platform: string, arch: string): string | undefined {
  if (platform === "linux" && (arch === "x64" || arch === "arm64")) return undefined;
  return `it supports Linux on x64 and arm64, this is ${PLATFORMS[platform] ?? platform} on ${arch}`;
}

const HOW = `apt-get install g++ libtorch-dev libopenblas0-pthread, or install PyTorch with pip, then run \`${BUILD_COMMAND}\``;

/** Builds the addon if needed. Returns one line for the terminal, and whether the addon exists. */
async function main(force: boolean, options: CompileOptions): Promise<{ line: string; ok: boolean }> {
  const notBuilt = (why: string) => ({ line: `native engine not built: ${why}`, ok: false });
  const platform = unsupported(process.platform, process.arch);
  if (platform) return notBuilt(`${platform}; wasm will be used`);
  if (spawnSync(compiler(), ["--version"]).status !== 0)
    return notBuilt(`no C++ compiler (${compiler()}) was found; wasm will be used (${HOW})`);
  const libtorch = findLibtorch();
  if (!libtorch) return notBuilt(`no libtorch was found; wasm will be used (${HOW})`);
  const now = buildState();
  const name = `libtorch ${libtorch.version} (${libtorch.origin}: ${libtorch.lib}${libtorch.cuda ? ", CUDA" : ""})`;
  const same =
    now.state === "built" &&
    now.stamp.libtorch.lib === libtorch.lib &&
    now.stamp.libtorch.nccl.join() === libtorch.nccl.join() &&
    now.stamp.sanitized === (options.sanitize === true);
  if (same && !force) return { line: `native engine is up to date with ${name}${kernelsChosen(libtorch)}`, ok: true };
  const start = performance.now();
  const without = await buildWithNccl(libtorch, options);
  const seconds = Math.round((performance.now() - start) / 1000);
  const line = `native engine built against ${name} in ${seconds} s${kernelsChosen(libtorch)}`;
  return { line: without === undefined ? line : `${line}; without NCCL: ${without}`, ok: true };
}

/** Builds with NCCL if it can be compiled, else without it, as the engine does not need it. Returns why it is left out. */
async function buildWithNccl(libtorch: Libtorch, options: CompileOptions): Promise<string | undefined> {
  try {
    await build(libtorch, options);
    return undefined;
  } catch (error) {
    if (libtorch.nccl.length === 0) throw error;
    await build(libtorch, { ...options, withoutNccl: true });
    const { stderr, message } = error as Error & { stderr?: string };
    return firstLine(stderr || message);
  }
}

/** A clause about OpenBLAS's kernels if they differ from OpenBLAS's own choice. */
function kernelsChosen(libtorch: Libtorch): string {
  const { own, chosen } = kernelsFor(libtorch);
  return own && chosen ? `; OpenBLAS multiplies with its ${chosen.core} kernels instead of ${own.core}` : "";
}

/** The first error of a compiler's output, or an error's message, as one line. */
function firstLine(text: string): string {
  const lines = text.split("\n");
  return (lines.find((line) => /error|undefined|cannot/i.test(line)) ?? lines[0] ?? "").trim();
}

const FLAGS = {
  install: { type: "boolean" },
  force: { type: "boolean" },
  sanitize: { type: "boolean" },
} as const;

/** Builds as the flags of this process say, prints one line, and sets the exit code. */
export async function runBuild(): Promise<void> {
  const installing = process.argv.includes("--install");
  const failed = (line: string) => {
    (installing ? console.log : console.error)(`gblr: ${line}`);
    process.exitCode = installing ? 0 : 1;
  };
  try {
    const {
      install = false,
      force = install && process.env.npm_command === "rebuild",
      ...options
    } = parseArgs({
      options: FLAGS,
    }).values;
    const { line, ok } = await main(force, options);
    if (ok) console.log(`gblr: ${line}`);
    else failed(line);
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    failed(`native engine not built: ${firstLine(stderr || message)}; wasm will be used`);
    if (stderr && !installing) console.error(stderr);
  }
}

if (import.meta.main) await runBuild();
