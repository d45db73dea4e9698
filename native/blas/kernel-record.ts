// Stores the choice of OpenBLAS's kernels in the folder of the addon, or in the user's cache if that folder is
// read-only. The choice is made when the addon is built, and again when the processor, libtorch or the BLAS changes.

import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { workbenchCache } from "../../hub/cache/paths.ts";
import { buildFolder } from "../build-state.ts";
import type { Libtorch } from "../libtorch.ts";
import { inspectProcessor, type Processor } from "../processor.ts";
import { type Choice, chooseKernels } from "./blas-kernels.ts";
import { CORE_TYPE, type Probed, probeLibtorch, probePath } from "./blas-probe.ts";

/** What a choice depends on. It is valid until one of these changes. */
interface Key {
  /** version of the record's format and of the algorithm */
  version: number;
  processor: string;
  libtorch: string;
  /** fingerprint of the program that tries kernels, so that a new build tries again after a failure */
  probe: string;
  /** variables that make the loader use other libraries */
  loader: string;
}

/** The contents of the record's file. */
interface KernelRecord {
  key: Key;
  /** fingerprints of the choice's files */
  fingerprints: string[];
  choice: Choice;
}

/** Version of the record's format and of the algorithm. */
const VERSION = 1;

/** Options of `kernelsFor`, for tests. */
export interface KernelOptions {
  /** folders to search for the choice; a new one is stored in the first writable folder */
  folders?: readonly string[];
  processor?: Processor;
  /** tries the kernels of a name, or OpenBLAS's own choice */
  run?: (core?: string) => Probed;
  /** the program that `run` starts */
  program?: string;
}

/** The stored choice if it is still valid, or a new one. */
export function kernelsFor(libtorch: Libtorch, options: KernelOptions = {}): Choice {
  const { folders = [buildFolder, workbenchCache(process.env)], processor = inspectProcessor() } = options;
  const { run = (core) => probeLibtorch(libtorch, core), program = probePath } = options;
  const key = keyOf(libtorch, processor, program);
  for (const folder of folders) {
    const known = read(folder, key);
    if (known) return known;
  }
  const choice = chooseKernels(run, processor);
  const record = { key, fingerprints: choice.files.map(fileMark), choice };
  // If no folder is writable, the choice is made again next time.
  folders.some((folder) => write(folder, record));
  return choice;
}

const fileIn = (folder: string) => join(folder, "kernels.json");

/** The kernels to request from OpenBLAS; undefined leaves the choice to OpenBLAS or to the user's variable. */
export function kernelsToAskFor(libtorch: Libtorch): string | undefined {
  if (process.env[CORE_TYPE] !== undefined || process.arch !== "x64") return undefined;
  return kernelsFor(libtorch).chosen?.core;
}

function keyOf({ lib, fingerprint }: Libtorch, { name, flags }: Processor, program: string): Key {
  const { LD_LIBRARY_PATH = "", LD_PRELOAD = "" } = process.env;
  return {
    version: VERSION,
    processor: [name, ...flags.filter((flag) => /^(avx|fma|sse)/.test(flag))].join(" "),
    libtorch: `${lib} ${fingerprint}`,
    probe: fileMark(program),
    loader: `${LD_LIBRARY_PATH} ${LD_PRELOAD}`,
  };
}

/** A fingerprint of a file. Links are followed, because distributions select the BLAS by links. */
function fileMark(file: string): string {
  try {
    const real = realpathSync(file);
    const { size, mtimeMs } = statSync(real);
    return `${real} ${size}-${Math.round(mtimeMs)}`;
  } catch {
    return "gone";
  }
}

/** The stored choice if it is still valid; undefined also for a damaged record or one of another format. */
function read(folder: string, wanted: Key): Choice | undefined {
  try {
    const { key, fingerprints, choice } = JSON.parse(readFileSync(fileIn(folder), "utf8")) as KernelRecord;
    const names = Object.keys(wanted) as (keyof Key)[];
    const holds =
      names.every((name) => key[name] === wanted[name]) &&
      choice.files.every((file, index) => fileMark(file) === fingerprints[index]);
    return holds ? choice : undefined;
  } catch {
    return undefined;
  }
}

/** Writes the record atomically. Returns whether it could be written. */
function write(folder: string, record: KernelRecord): boolean {
  const draft = `${fileIn(folder)}-${process.pid}`;
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(draft, `${JSON.stringify(record, null, 2)}\n`);
    renameSync(draft, fileIn(folder));
    return true;
  } catch {
    if (existsSync(draft)) rmSync(draft);
    return false;
  }
}
