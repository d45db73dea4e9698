// Builds the addon against the libtorch of this machine: `bun native/build.ts [--install] [--force]`.
// Does nothing when what is built fits what is there. With --install (run by the package manager) it never fails: a
// machine without a compiler or libtorch gets one line, and the wasm engine.

import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import {
  buildFolder,
  buildState,
  hashSources,
  type Stamp,
  sourceFiles,
  sourceFolder,
  stampPath,
} from "./build-state.ts";
import { kernelsFor } from "./kernel-record.ts";
import { findLibtorch, type Libtorch } from "./libtorch.ts";

const run = promisify(execFile);

/** A program of its own, with nothing of libtorch. */
const PROBE = "blas-probe.cc";

/** Compiles and links; the finished file replaces the old one in one step. Returns its stamp. */
export async function build(libtorch: Libtorch): Promise<Stamp> {
  const sources = hashSources();
  const work = join(buildFolder, `work-${process.pid}`);
  mkdirSync(work, { recursive: true });
  try {
    const compile = compilerFlags(libtorch);
    const files = sourceFiles(/\.cc$/).filter((file) => file !== PROBE);
    const objects = await inParallel(files, async (file) => {
      const object = join(work, file.replace(/cc$/, "o"));
      await runCompiler([...compile, "-c", join(sourceFolder, file), "-o", object]);
      return object;
    });
    const isShim = (object: string) => object.endsWith("/shim.o");
    const library = join(work, "libgblr.so");
    await runCompiler([...objects.filter((o) => !isShim(o)), "-o", library, ...linkerFlags(libtorch)]);
    const addon = join(work, "gblr.node");
    await runCompiler([...objects.filter(isShim), "-o", addon, "-shared", "-ldl"]);
    await runCompiler(["-std=c++17", "-O2", join(sourceFolder, PROBE), "-o", join(work, "blas-probe"), "-ldl"]);
    const stamp: Stamp = { libtorch, sources };
    writeFileSync(join(work, "stamp.json"), `${JSON.stringify(stamp, null, 2)}\n`);
    // Without a stamp nothing counts as built: it goes first and comes back last.
    rmSync(stampPath(), { force: true });
    for (const file of ["blas-probe", "libgblr.so", "gblr.node", "stamp.json"])
      renameSync(join(work, file), join(buildFolder, file));
    return stamp;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const runCompiler = (flags: string[]) => run(compiler(), flags, { maxBuffer: 1 << 26 });

const compiler = () => process.env.CXX ?? "g++";

function compilerFlags({ include, lib, version, origin }: Libtorch): string[] {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const nodeApi = dirname(createRequire(import.meta.url).resolve("node-api-headers/package.json"));
  return [
    major > 2 || (major === 2 && minor >= 10) ? "-std=c++20" : "-std=c++17",
    "-O3",
    // The compiler turns a loop with a square root into vector instructions only when nobody asks for errno and traps.
    "-fno-math-errno",
    "-fno-trapping-math",
    // at::parallel_for is a plain loop without it. Not for the linker: the OpenMP library to use is libtorch's own.
    "-fopenmp",
    "-fPIC",
    "-fvisibility=hidden",
    `-D_GLIBCXX_USE_CXX11_ABI=${usesNewStrings(lib) ? 1 : 0}`,
    "-DNAPI_VERSION=8",
    // The system's libtorch takes its products from the system's BLAS; a wheel brings one that runs on OpenMP.
    ...(origin === "system" ? ["-DGBLR_PASSIVE_WAIT"] : []),
    `-I${join(nodeApi, "include")}`,
    ...include.map((folder) => `-I${folder}`),
  ];
}

function linkerFlags({ lib, cuda }: Libtorch): string[] {
  const libraries = ["torch_cpu", "c10", ...(cuda ? ["torch_cuda", "c10_cuda"] : [])];
  // Nothing of ours names a CUDA symbol, yet its kernels must be loaded: hence no-as-needed.
  return ["-shared", `-L${lib}`, `-Wl,-rpath,${lib}`, "-Wl,--no-as-needed", ...libraries.map((l) => `-l${l}`), "-ldl"];
}

/** pip wheels before 2.7 are built with the string layout of GCC 4; the mangled names tell. */
function usesNewStrings(lib: string): boolean {
  return readFileSync(join(lib, "libc10.so")).includes("torchCheckFailEPKcS2_jRKNSt7__cxx11");
}

async function inParallel<A, B>(items: A[], work: (item: A) => Promise<B>): Promise<B[]> {
  const results: B[] = [];
  const queue = items.map((item, index) => ({ item, index }));
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) results[next.index] = await work(next.item);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}

function missing(): string | undefined {
  if (process.platform !== "linux") return `the native engine builds on Linux, this is ${process.platform}`;
  if (spawnSync(compiler(), ["--version"]).status !== 0) return `no C++ compiler (${compiler()}) was found`;
  return undefined;
}

const HOW =
  "apt-get install g++ libtorch-dev libopenblas0-pthread, or install PyTorch with pip, then run `npm run build`";

/** One line for the terminal, and whether there is an addon at the end. */
async function main(force: boolean): Promise<{ line: string; ok: boolean }> {
  const absent = missing();
  if (absent) return { line: `native engine not built: ${absent}; wasm will be used (${HOW})`, ok: false };
  const libtorch = findLibtorch();
  if (!libtorch)
    return { line: `native engine not built: no libtorch was found; wasm will be used (${HOW})`, ok: false };
  const now = buildState();
  const name = `libtorch ${libtorch.version} (${libtorch.origin}: ${libtorch.lib}${libtorch.cuda ? ", CUDA" : ""})`;
  const same = now.state === "built" && now.stamp.libtorch.lib === libtorch.lib;
  if (same && !force) return { line: `native engine is up to date with ${name}${kernelsChosen(libtorch)}`, ok: true };
  const start = performance.now();
  await build(libtorch);
  const seconds = Math.round((performance.now() - start) / 1000);
  return { line: `native engine built against ${name} in ${seconds} s${kernelsChosen(libtorch)}`, ok: true };
}

/** What is said of OpenBLAS's kernels, where we choose them. */
function kernelsChosen(libtorch: Libtorch): string {
  const { own, chosen } = kernelsFor(libtorch);
  return own && chosen ? `; OpenBLAS multiplies with its ${chosen.core} kernels instead of ${own.core}` : "";
}

if (import.meta.main) {
  const flags = process.argv.slice(2);
  const installing = flags.includes("--install");
  try {
    const { line, ok } = await main(flags.includes("--force"));
    console.log(`gblr: ${line}`);
    process.exitCode = ok || installing ? 0 : 1;
  } catch (error) {
    const text = (error as { stderr?: string }).stderr || (error as Error).message;
    const firstError = text.split("\n").find((line) => /error|undefined|cannot/i.test(line)) ?? text.split("\n")[0];
    console.log(`gblr: native engine not built: ${firstError?.trim()}; wasm will be used`);
    if (!installing) console.error(text);
    process.exitCode = installing ? 0 : 1;
  }
}
