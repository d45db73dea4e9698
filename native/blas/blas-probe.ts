// Runs blas-probe.cc, which tries OpenBLAS with given kernels in a separate process.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { z } from "zod";
import { jsonOrUndefined } from "../../hub/text/json.ts";
import { buildFolder } from "../build-state.ts";
import type { Libtorch } from "../libtorch.ts";

/** The variable that names the kernels to use. OpenBLAS reads it once, when it is loaded. */
export const CORE_TYPE = "OPENBLAS_CORETYPE";

/** OpenBLAS with one of its sets of kernels. */
export interface Kernels {
  /** OpenBLAS's name for them, e.g. `SkylakeX` */
  core: string;
  /** OpenBLAS's description of itself, e.g. `OpenBLAS 0.3.21 DYNAMIC_ARCH …` */
  config: string;
  /** the first wrong product, e.g. `sgemm TN 5×1×17` */
  wrong?: string;
  /** speed of a float32 product on one thread */
  gflops: number;
}

/**
 * The result of a probe. `files` are those of the BLAS; without `kernels` it is not OpenBLAS. `failure` is one clause.
 */
export type Probed = { files: string[]; kernels?: Kernels } | { failure: string };

/** Whether two names mean the same kernels. OpenBLAS ignores the case of names. */
export const sameKernels = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

/** Options of `probe`. */
export interface ProbeOptions {
  /** a library that loads the BLAS, such as libtorch, or the BLAS itself */
  library: string;
  /** kernels to request. Default OpenBLAS's choice */
  core?: string | undefined;
  program?: string;
  /**
   * time limit of the program in seconds; it usually takes one. `gblr doctor` waits longer than for three. Default 8
   */
  patience?: number;
}

/** Path of the compiled program. */
export const probePath = join(buildFolder, "blas-probe");

/** Runs the program. Does not throw. */
export function probe({ library, core, program = probePath, patience = 8 }: ProbeOptions): Probed {
  const asked = core === undefined ? [] : [core];
  const { stdout, stderr, status, signal, error } = spawnSync(program, [library, String(patience), ...asked], {
    encoding: "utf8",
    env: process.env,
    // A second limit, in case the program does not end by itself.
    timeout: (patience + 1) * 1000,
    killSignal: "SIGKILL",
  });
  const isLate = signal === "SIGALRM" || (error as NodeJS.ErrnoException | undefined)?.code === "ETIMEDOUT";
  if (isLate) return { failure: `no answer within ${patience} s` };
  if (error) return { failure: `could not run: ${error.message}` };
  if (signal) return { failure: `crashed with ${signal}` };
  if (status !== 0) return { failure: `failed: ${lastLine(stderr)}` };
  return parse(lastLine(stdout));
}

const answer = z.object({ files: z.array(z.string()) });
const kernelsOf = z.object({ core: z.string(), config: z.string(), wrong: z.string().optional(), gflops: z.number() });

function parse(line: string): Probed {
  const json = jsonOrUndefined(line);
  const { data: found } = answer.safeParse(json);
  if (!found) return { failure: `answered ${JSON.stringify(line)}` };
  if (!Object.hasOwn(json as object, "core")) return found;
  const { data: kernels } = kernelsOf.safeParse(json);
  return kernels ? { ...found, kernels: kernels as Kernels } : { failure: `answered ${JSON.stringify(line)}` };
}

/** The last line. Libraries may print lines before it. */
const lastLine = (text: string) => text.trim().split("\n").at(-1) ?? "";

/** Probes the BLAS of libtorch. */
export function probeLibtorch({ lib }: Libtorch, core?: string): Probed {
  return probe({ library: join(lib, "libtorch_cpu.so"), core });
}
