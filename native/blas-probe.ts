// Runs blas-probe.cc, which tries OpenBLAS with given kernels in a separate process.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { z } from "zod";
import { jsonOrUndefined } from "../hub/text/json.ts";
import { buildFolder } from "./build-state.ts";
import type { Libtorch } from "./libtorch.ts";

/** The variable that OpenBLAS reads once, when it is loaded: which kernels to use. */
export const CORE_TYPE = "OPENBLAS_CORETYPE";

/** An OpenBLAS with one kind of its kernels. */
export interface Kernels {
  /** OpenBLAS's name for them, e.g. `SkylakeX` */
  core: string;
  /** OpenBLAS's description of itself, e.g. `OpenBLAS 0.3.21 DYNAMIC_ARCH …` */
  config: string;
  /** the first product that came out wrong, e.g. `sgemm TN 5×1×17` */
  wrong?: string;
  /** of a float32 product on one thread */
  gflops: number;
}

/** `files` are those of the BLAS. Without `kernels` the BLAS is not OpenBLAS. `failure` is one clause. */
export type Probed = { files: string[]; kernels?: Kernels } | { failure: string };

/** Whether two names mean the same kernels: OpenBLAS takes them in upper and lower case. */
export const sameKernels = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

export interface ProbeOptions {
  /** a library that brings the BLAS with it: libtorch, or the BLAS itself */
  library: string;
  /** kernels to ask for; OpenBLAS chooses by default */
  core?: string | undefined;
  program?: string;
  /** seconds after which the program ends itself; it takes one. Less than doctor waits for three of them. Default 8 */
  patience?: number;
}

export const probePath = join(buildFolder, "blas-probe");

/** Never throws. */
export function probe({ library, core, program = probePath, patience = 8 }: ProbeOptions): Probed {
  const asked = core === undefined ? [] : [core];
  const { stdout, stderr, status, signal, error } = spawnSync(program, [library, String(patience), ...asked], {
    encoding: "utf8",
    env: process.env,
    // In case the program does not end by itself.
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

/** The last line: libraries may print lines before it. */
const lastLine = (text: string) => text.trim().split("\n").at(-1) ?? "";

/** The BLAS that libtorch runs on. */
export function probeLibtorch({ lib }: Libtorch, core?: string): Probed {
  return probe({ library: join(lib, "libtorch_cpu.so"), core });
}
