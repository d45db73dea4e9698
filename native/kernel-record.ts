// Keeps the choice of OpenBLAS's kernels beside the addon, or in the user's cache when that folder cannot be written.
// The choice is made when the addon is built, and again when the processor, libtorch or the BLAS has changed.

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
import { workbenchCache } from "../hub/cache/paths.ts";
import { type Choice, chooseKernels } from "./blas-kernels.ts";
import { CORE_TYPE, type Probed, probeLibtorch, probePath } from "./blas-probe.ts";
import { buildFolder } from "./build-state.ts";
import type { Libtorch } from "./libtorch.ts";
import { inspectProcessor, type Processor } from "./processor.ts";

/** What a choice depends on; it holds while none of these changes. */
interface Key {
  /** of the record's form and of how a choice is made */
  version: number;
  processor: string;
  libtorch: string;
  /** of the program that tries kernels: where it failed, a new build tries again */
  probe: string;
  /** variables that make the loader take other libraries */
  loader: string;
}

interface KernelRecord {
  key: Key;
  /** of each of the choice's files */
  fingerprints: string[];
  choice: Choice;
}

const VERSION = 1;

export interface KernelOptions {
  /** where to look for the choice; a new one is kept in the first that can be written */
  folders?: readonly string[];
  processor?: Processor;
  /** tries the kernels of a name, or OpenBLAS's own choice */
  run?: (core?: string) => Probed;
  /** that `run` runs */
  program?: string;
}

/** The choice made before, if it still holds, or a new one. */
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
  // When no place can be written, the choice is made again next time.
  folders.some((folder) => write(folder, record));
  return choice;
}

const fileIn = (folder: string) => join(folder, "kernels.json");

/** The kernels to ask OpenBLAS for; undefined leaves the choice to OpenBLAS, or to the user who has made it. */
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

/** Follows links, because distributions select the BLAS by links. */
function fileMark(file: string): string {
  try {
    const real = realpathSync(file);
    const { size, mtimeMs } = statSync(real);
    return `${real} ${size}-${Math.round(mtimeMs)}`;
  } catch {
    return "gone";
  }
}

/** The recorded choice if it still holds; undefined also for a damaged record or one of another format. */
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

/** Writes the record in one step, so that no reader sees half of it. Returns whether it could be written. */
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
