// Compiles and links the addon against one libtorch.

import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { buildFolder, hashSources, type Stamp, sourceFiles, sourceFolder, stampPath } from "./build-state.ts";
import type { Libtorch } from "./libtorch.ts";

const run = promisify(execFile);

export interface CompileOptions {
  /** with AddressSanitizer and UndefinedBehaviorSanitizer; every finding ends the process */
  sanitize?: boolean;
  /** leaves out NCCL, although its headers are there */
  withoutNccl?: boolean;
}

/** The C++ compiler: $CXX or `g++`. */
export const compiler = (): string => process.env.CXX || "g++";

/** The source of a separate program that is not linked with libtorch. */
const PROBE = "blas/blas-probe.cc";

/** Compiles and links, then replaces the old files with the finished ones. Returns the stamp. */
export async function build(libtorch: Libtorch, options: CompileOptions = {}): Promise<Stamp> {
  const sources = hashSources();
  const work = join(buildFolder, `work-${process.pid}`);
  mkdirSync(work, { recursive: true });
  try {
    const flags = compilerFlags(libtorch, options);
    const files = sourceFiles(/\.cc$/).filter((file) => file !== PROBE);
    const objects = await inParallel(files, async (file) => {
      const object = join(work, file.replace(/cc$/, "o"));
      mkdirSync(dirname(object), { recursive: true });
      await runCompiler([...flags, "-c", join(sourceFolder, file), "-o", object]);
      return object;
    });
    const isShim = (object: string) => object.endsWith("/shim.o");
    const library = join(work, "libgblr.so");
    await link([...objects.filter((o) => !isShim(o)), "-o", library], libtorch, options);
    const addon = join(work, "gblr.node");
    await runCompiler([...objects.filter(isShim), "-o", addon, "-shared", "-ldl", ...sanitizerFlags(options)]);
    await runCompiler(["-std=c++17", "-O2", join(sourceFolder, PROBE), "-o", join(work, "blas-probe"), "-ldl"]);
    const stamp: Stamp = { libtorch, sources, sanitized: options.sanitize === true };
    writeFileSync(join(work, "stamp.json"), `${JSON.stringify(stamp, null, 2)}\n`);
    // Without a stamp the addon counts as not built, so the stamp is removed first and replaced last.
    rmSync(stampPath(), { force: true });
    for (const file of ["blas-probe", "libgblr.so", "gblr.node", "stamp.json"])
      renameSync(join(work, file), join(buildFolder, file));
    return stamp;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function runCompiler(flags: string[]): Promise<string> {
  // LC_ALL=C makes the messages English; `link` and build.ts search them for words.
  const { stderr } = await run(compiler(), flags, { maxBuffer: 1 << 26, env: { ...process.env, LC_ALL: "C" } });
  return stderr;
}

/** Links the library. Throws when libtorch lacks a function that its headers declare: the addon would not load. */
async function link(inputs: string[], libtorch: Libtorch, options: CompileOptions): Promise<void> {
  const report = await runCompiler([...inputs, ...linkerFlags(libtorch), ...sanitizerFlags(options)]);
  const undefinedNames = [...report.matchAll(/undefined reference to `([^']+)'/g)].map(([, name]) => name as string);
  const lacking = undefinedNames.find((name) => !FROM_THE_PROCESS.test(name));
  if (lacking) throw new Error(`${libtorch.lib} does not define ${lacking}, which its headers declare`);
}

/** Functions that the JavaScript runtime, or the OpenMP library that libtorch loads, defines at run time. */
const FROM_THE_PROCESS = /^(napi_|GOMP_|omp_)/;

function compilerFlags({ include, nccl, lib, origin }: Libtorch, options: CompileOptions): string[] {
  const nodeApi = dirname(createRequire(import.meta.url).resolve("node-api-headers/package.json"));
  // The compiler searches these by default; naming them again would put the C library's headers in the wrong order.
  const folders = include.filter((folder) => folder !== "/usr/include" && folder !== "/usr/local/include");
  return [
    `-std=c++${standardOf(include)}`,
    "-Wall",
    "-Wextra",
    ...(options.sanitize ? ["-O1", "-g", "-fno-omit-frame-pointer"] : ["-O3"]),
    ...sanitizerFlags(options),
    ...(process.env.CXXFLAGS?.split(/\s+/).filter(Boolean) ?? []),
    // The compiler vectorizes loops with a square root only when errno and traps do not matter.
    "-fno-math-errno",
    "-fno-trapping-math",
    // Without this flag at::parallel_for is a serial loop. It is not passed to the linker, because the addon must use
    // libtorch's own OpenMP library.
    "-fopenmp",
    "-fPIC",
    "-fvisibility=hidden",
    `-D_GLIBCXX_USE_CXX11_ABI=${usesNewStrings(lib) ? 1 : 0}`,
    "-DNAPI_VERSION=8",
    // The system's libtorch uses the system's BLAS, which has its own threads; a wheel has a BLAS that uses OpenMP.
    ...(origin === "system" ? ["-DGBLR_PASSIVE_WAIT"] : []),
    `-I${join(nodeApi, "include")}`,
    `-I${join(sourceFolder, "distributed/gloo-declarations")}`,
    ...(nccl.length > 0 && !options.withoutNccl ? ["-DGBLR_NCCL_HEADERS"] : []),
    // -isystem instead of -I hides warnings in libtorch's headers.
    ...[...folders, ...nccl].flatMap((folder) => ["-isystem", folder]),
  ];
}

const sanitizerFlags = ({ sanitize }: CompileOptions): string[] =>
  sanitize ? ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"] : [];

function linkerFlags({ lib, cuda }: Libtorch): string[] {
  const libraries = ["torch_cpu", "c10", ...(cuda ? ["torch_cuda", "c10_cuda"] : [])];
  return [
    "-shared",
    `-L${lib}`,
    `-Wl,-rpath,${lib}`,
    // The libraries with the CUDA kernels must be loaded, though only NCCL's process group is referred to by name.
    "-Wl,--no-as-needed",
    ...libraries.map((l) => `-l${l}`),
    "-ldl",
    // Reports undefined symbols, which `link` reads. They are warnings only, because NVIDIA's libraries may be missing
    // beside a wheel's.
    "-Wl,-z,defs",
    "-Wl,--warn-unresolved-symbols",
  ];
}

/** The C++ standard that the headers require (20 for `__cplusplus < 202002L`), at least the addon's own 17. */
export function standardOf(include: readonly string[]): number {
  const header = include.map((folder) => join(folder, "ATen/ATen.h")).find(existsSync);
  const year = header && readFileSync(header, "utf8").match(/__cplusplus < 20(\d\d)\d\dL/)?.[1];
  return Math.max(17, Number(year ?? 17));
}

/** Whether libtorch uses GCC's new string ABI, by its mangled names. Wheels before 2.7 are built with that of GCC 4. */
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
