// Which kernels OpenBLAS should multiply with. A release chooses well among the processors that it knows; for a later one
// it may fall back to kernels of a fraction of the speed. Where the processor could do more than OpenBLAS chose, wider
// kernels are tried in a process of their own (blas-probe.cc) and kept if their products are right and faster.
// The answer is kept beside the addon, for this processor and this OpenBLAS.

import { spawnSync } from "node:child_process";
import { readFileSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildFolder } from "./build-state.ts";
import type { Libtorch } from "./libtorch.ts";
import { inspectProcessor, type Processor } from "./processor.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** The variable that OpenBLAS reads once, when it is loaded. */
export const CORE_TYPE = "OPENBLAS_CORETYPE";

/** What blas-probe found: the OpenBLAS that libtorch runs on, with the kernels that it took. */
export interface Kernels {
  /** OpenBLAS's name for them, e.g. `SkylakeX` */
  core: string;
  /** OpenBLAS's description of itself, e.g. `OpenBLAS 0.3.21 DYNAMIC_ARCH …` */
  config: string;
  /** the first product that came out wrong, e.g. `sgemm TN 5×1×17` */
  wrong?: string;
  /** of a float product on one thread */
  gflops: number;
}

/** `files` define the BLAS; without `kernels` it is not OpenBLAS. */
export type Probed = { files: string[]; kernels?: Kernels } | { failure: string };

/** Kernels that were tried and not taken. */
export interface Rejected {
  core: string;
  /** one clause */
  why: string;
}

/** What was found for one processor and one BLAS. */
export interface KernelRecord {
  /** of the record's form and of how it is found */
  version: number;
  /** what the answer holds for */
  processor: string;
  libtorch: string;
  searchPath: string;
  /** file to fingerprint */
  files: Record<string, string>;
  /** OpenBLAS's own choice; absent where the BLAS is another, or where `failure` tells */
  own?: Kernels;
  /** why OpenBLAS could not be tried, one clause */
  failure?: string;
  /** ours, where it is another one */
  chosen?: Kernels;
  rejected: Rejected[];
}

/** Vector instructions that each kind of kernels is compiled for, widest first, and the names of such kernels. */
const LEVELS = [
  { needs: ["avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"], try: "SkylakeX" },
  { needs: ["avx2", "fma"], try: "Haswell" },
] as const;

/** How far each of OpenBLAS's kernels go: an index into LEVELS, or beyond. */
const LEVEL_OF: Readonly<Record<string, number>> = Object.fromEntries(
  [
    ["SkylakeX", "Cooperlake", "SapphireRapids"],
    ["Haswell", "Zen"],
    ["Sandybridge", "Bulldozer", "Piledriver", "Steamroller", "Excavator"],
    // SSE
    ["Katmai", "Coppermine", "Northwood", "Prescott", "Banias", "Atom", "Core2", "Penryn", "Dunnington", "Nehalem"],
    ["Athlon", "Opteron", "Barcelona", "Nano", "Bobcat", "Generic", "Unknown"],
  ].flatMap((names, level) => names.map((name) => [name.toLowerCase(), level])),
);

/** Kernels that the processor could run and that are wider than `core`, widest first. None for a core not known here. */
export function widerKernels(core: string, { flags }: Processor): string[] {
  const level = LEVEL_OF[core.toLowerCase()] ?? 0;
  const has = new Set(flags);
  return LEVELS.slice(0, level).flatMap(({ needs, try: name }) => (needs.every((flag) => has.has(flag)) ? [name] : []));
}

/** Wider kernels must gain this much over OpenBLAS's choice. */
const WORTHWHILE = 1.1;

/** Why kernels that were tried are not to be taken; undefined when they are. */
export function objection(asked: string, tried: Probed, own: Kernels): string | undefined {
  if ("failure" in tried) return tried.failure;
  const { kernels } = tried;
  if (kernels?.core.toLowerCase() !== asked.toLowerCase()) return "this OpenBLAS is built without them";
  if (kernels.wrong !== undefined) return `wrong result of ${kernels.wrong}`;
  if (own.wrong === undefined && kernels.gflops < own.gflops * WORTHWHILE) return "not faster";
  return undefined;
}

export interface ProbeOptions {
  /** a library that brings the BLAS with it: libtorch, or the BLAS itself */
  library: string;
  /** `undefined`: OpenBLAS's own choice */
  core?: string | undefined;
  program?: string;
}

export const probePath = (folder = buildFolder): string => join(folder, "blas-probe");

/** Runs blas-probe; its own time limit ends it. Never throws. */
export function probe({ library, core, program = probePath() }: ProbeOptions): Probed {
  const { [CORE_TYPE]: _, ...environment } = process.env;
  const { stdout, stderr, status, signal, error } = spawnSync(program, [library], {
    encoding: "utf8",
    env: core === undefined ? environment : { ...environment, [CORE_TYPE]: core },
  });
  if (error) return { failure: `could not run: ${error.message}` };
  if (signal) return { failure: signal === "SIGALRM" ? "hung" : `crashed with ${signal}` };
  if (status !== 0) return { failure: `failed: ${stderr.trim().split("\n").at(-1)}` };
  const { files, ...kernels } = JSON.parse(stdout) as { files: string[] } & Partial<Kernels>;
  return kernels.core === undefined ? { files } : { files, kernels: kernels as Kernels };
}

export interface ChooseOptions {
  /** what OpenBLAS is probed with; tests give another */
  run?: (core?: string) => Probed;
  processor?: Processor;
}

/** Probes OpenBLAS's choice and, where the processor could do more, wider kernels until some are good. */
export function examine(libtorch: Libtorch, { run, processor = inspectProcessor() }: ChooseOptions = {}): KernelRecord {
  const probeWith = run ?? ((core) => probe({ library: join(libtorch.lib, "libtorch_cpu.so"), core }));
  const first = probeWith();
  const record: KernelRecord = { ...keyOf(libtorch, processor), files: {}, rejected: [] };
  if ("failure" in first) return { ...record, failure: first.failure };
  for (const file of first.files) record.files[file] = fingerprint(file);
  const own = first.kernels;
  if (own === undefined) return record;
  record.own = own;
  for (const core of widerKernels(own.core, processor)) {
    const tried = probeWith(core);
    const why = objection(core, tried, own);
    if (why === undefined && "kernels" in tried) return { ...record, chosen: tried.kernels as Kernels };
    record.rejected.push({ core, why: why ?? "" });
  }
  return record;
}

/** What was found before, if it still holds, or finds it now; kept in `folder` when that can be written. */
export function kernelsFor(libtorch: Libtorch, folder = buildFolder, options: ChooseOptions = {}): KernelRecord {
  const { processor = inspectProcessor() } = options;
  const file = join(folder, "kernels.json");
  const known = read(file);
  if (known && holds(known, keyOf(libtorch, processor))) return known;
  const record = examine(libtorch, { ...options, processor });
  write(file, record);
  return record;
}

/** The kernels to ask OpenBLAS for; undefined leaves the choice to OpenBLAS, or to the user who has made it. */
export function kernelChoice(libtorch: Libtorch, environment: Environment = process.env): string | undefined {
  if (environment[CORE_TYPE] !== undefined || process.arch !== "x64") return undefined;
  return kernelsFor(libtorch).chosen?.core;
}

const VERSION = 1;

type Key = Pick<KernelRecord, "version" | "processor" | "libtorch" | "searchPath">;

function keyOf(libtorch: Libtorch, { name, flags }: Processor): Key {
  const vectors = flags.filter((flag) => /^(avx|fma|sse)/.test(flag));
  return {
    version: VERSION,
    processor: [name, ...vectors].join(" "),
    libtorch: `${libtorch.lib} ${libtorch.fingerprint}`,
    searchPath: [process.env.LD_LIBRARY_PATH, process.env.LD_PRELOAD].join(" ").trim(),
  };
}

function holds(record: KernelRecord, key: Key): boolean {
  return (
    record.version === key.version &&
    record.processor === key.processor &&
    record.libtorch === key.libtorch &&
    record.searchPath === key.searchPath &&
    Object.entries(record.files).every(([file, mark]) => fingerprint(file) === mark)
  );
}

/** Follows links: Debian's alternatives are some. */
function fingerprint(file: string): string {
  try {
    const real = realpathSync(file);
    const { size, mtimeMs } = statSync(real);
    return `${real} ${size}-${Math.round(mtimeMs)}`;
  } catch {
    return "gone";
  }
}

function read(file: string): KernelRecord | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as KernelRecord;
  } catch {
    return undefined;
  }
}

/** In one step, so that nobody reads half of it. What cannot be kept is found again next time. */
function write(file: string, record: KernelRecord): void {
  const draft = `${file}-${process.pid}`;
  try {
    writeFileSync(draft, `${JSON.stringify(record, null, 2)}\n`);
    renameSync(draft, file);
  } catch {
    rmSync(draft, { force: true });
  }
}
