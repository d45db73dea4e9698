// The choice of OpenBLAS's kernels, kept beside the addon: it is made when the addon is built, and again when the
// processor, libtorch or the BLAS is another one.

import { readFileSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Choice, chooseKernels } from "./blas-kernels.ts";
import { CORE_TYPE, type Probed, probeLibtorch } from "./blas-probe.ts";
import { buildFolder } from "./build-state.ts";
import type { Libtorch } from "./libtorch.ts";
import { inspectProcessor, type Processor } from "./processor.ts";

/** What a choice holds for. */
interface Key {
  /** of the record's form and of how a choice is made */
  version: number;
  processor: string;
  libtorch: string;
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
  folder?: string;
  processor?: Processor;
  /** tries the kernels of a name, or OpenBLAS's own choice */
  run?: (core?: string) => Probed;
}

/** The choice made before, if it still holds, or a new one; kept in the folder where that can be written. */
export function kernelsFor(libtorch: Libtorch, options: KernelOptions = {}): Choice {
  const { folder = buildFolder, processor = inspectProcessor() } = options;
  const { run = (core) => probeLibtorch(libtorch, core) } = options;
  const file = join(folder, "kernels.json");
  const key = keyOf(libtorch, processor);
  const known = read(file, key);
  if (known) return known;
  const choice = chooseKernels(run, processor);
  write(file, { key, fingerprints: choice.files.map(fingerprint), choice });
  return choice;
}

/** The kernels to ask OpenBLAS for; undefined leaves the choice to OpenBLAS, or to the user who has made it. */
export function kernelsToAskFor(libtorch: Libtorch): string | undefined {
  if (process.env[CORE_TYPE] !== undefined || process.arch !== "x64") return undefined;
  return kernelsFor(libtorch).chosen?.core;
}

function keyOf({ lib, fingerprint }: Libtorch, { name, flags }: Processor): Key {
  const { LD_LIBRARY_PATH = "", LD_PRELOAD = "" } = process.env;
  return {
    version: VERSION,
    processor: [name, ...flags.filter((flag) => /^(avx|fma|sse)/.test(flag))].join(" "),
    libtorch: `${lib} ${fingerprint}`,
    loader: `${LD_LIBRARY_PATH} ${LD_PRELOAD}`,
  };
}

/** Follows links: a distribution's alternatives are some. */
function fingerprint(file: string): string {
  try {
    const real = realpathSync(file);
    const { size, mtimeMs } = statSync(real);
    return `${real} ${size}-${Math.round(mtimeMs)}`;
  } catch {
    return "gone";
  }
}

/** The choice, if there is one that holds. A record that is torn, or of another form, is none. */
function read(file: string, wanted: Key): Choice | undefined {
  try {
    const { key, fingerprints, choice } = JSON.parse(readFileSync(file, "utf8")) as KernelRecord;
    const names = Object.keys(wanted) as (keyof Key)[];
    const holds =
      names.every((name) => key[name] === wanted[name]) &&
      choice.files.every((file, index) => fingerprint(file) === fingerprints[index]);
    return holds ? choice : undefined;
  } catch {
    return undefined;
  }
}

/** In one step, so that nobody reads half of it. A choice that cannot be kept is made again next time. */
function write(file: string, record: KernelRecord): void {
  const draft = `${file}-${process.pid}`;
  try {
    writeFileSync(draft, `${JSON.stringify(record, null, 2)}\n`);
    renameSync(draft, file);
  } catch {
    rmSync(draft, { force: true });
  }
}
