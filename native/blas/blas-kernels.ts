// Chooses the kernels that OpenBLAS multiplies with. An OpenBLAS release chooses well for processors that it knows; for
// a newer one it may fall back to kernels at a fraction of the speed. Where the processor supports wider kernels than
// those chosen, they are tried, and used if their products are correct and faster.

import type { Processor } from "../processor.ts";
import { type Kernels, type Probed, sameKernels } from "./blas-probe.ts";

/** Kernels that were tried and rejected. */
export interface Rejected {
  core: string;
  /** the reason, as one clause */
  why: string;
}

/** The result of looking for better kernels. */
export interface Choice {
  /** OpenBLAS's own choice; absent for another BLAS, or after a `failure` */
  own?: Kernels;
  /** why OpenBLAS could not be tried, one clause */
  failure?: string;
  /** the kernels to use instead of OpenBLAS's choice; absent if there are no better ones */
  chosen?: Kernels;
  rejected: Rejected[];
  /** the library files that the choice depends on */
  files: string[];
}

/** Instruction sets of OpenBLAS's wide kernels, and the kernels to request for each; widest first. */
const LEVELS = [
  { needs: ["avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"], kernels: "SkylakeX" },
  { needs: ["avx2", "fma"], kernels: "Haswell" },
] as const;

/** The level of each of OpenBLAS's x86-64 kernels: an index into LEVELS, or higher for narrower kernels. */
const LEVEL_OF: Readonly<Record<string, number>> = Object.fromEntries(
  [
    ["SkylakeX", "Cooperlake", "SapphireRapids"],
    ["Haswell", "Zen"],
    // AVX
    ["Sandybridge", "Bulldozer", "Piledriver", "Steamroller", "Excavator"],
    // SSE
    ["Katmai", "Coppermine", "Northwood", "Prescott", "Banias", "Atom", "Core2", "Penryn", "Dunnington", "Nehalem"],
    ["Athlon", "Opteron", "Barcelona", "Nano", "Bobcat", "Generic", "Unknown"],
  ].flatMap((names, level) => names.map((name) => [name.toLowerCase(), level])),
);

/** Kernels wider than `core` that the processor supports, widest first. Empty if `core` is unknown. */
export function widerKernels(core: string, { flags }: Processor): string[] {
  const level = LEVEL_OF[core.toLowerCase()] ?? 0;
  return LEVELS.slice(0, level)
    .filter(({ needs }) => needs.every((flag) => flags.includes(flag)))
    .map(({ kernels }) => kernels);
}

/** Minimum speed-up over OpenBLAS's choice, because some processors lower their clock rate for wide instructions. */
const WORTHWHILE = 1.1;

/** The reason for rejecting kernels; undefined if they are accepted. */
export function objection(asked: string, tried: Probed, own: Kernels): string | undefined {
  if ("failure" in tried) return tried.failure;
  const { kernels } = tried;
  if (!kernels || !sameKernels(kernels.core, asked)) return "this OpenBLAS is built without them";
  if (kernels.wrong !== undefined) return `wrong result of ${kernels.wrong}`;
  if (own.wrong === undefined && kernels.gflops < own.gflops * WORTHWHILE) return "not faster";
  return undefined;
}

/**
 * Tries OpenBLAS's choice, then wider kernels that the processor supports until some are accepted.
 * @param run tries the kernels of a name, by default OpenBLAS's own choice
 */
export function chooseKernels(run: (core?: string) => Probed, processor: Processor): Choice {
  const first = run();
  if ("failure" in first) return { failure: first.failure, rejected: [], files: [] };
  const { files, kernels: own } = first;
  const rejected: Rejected[] = [];
  if (own === undefined) return { rejected, files };
  for (const core of widerKernels(own.core, processor)) {
    const tried = run(core);
    const why = objection(core, tried, own);
    if (why !== undefined) rejected.push({ core, why });
    else if ("kernels" in tried && tried.kernels) return { own, chosen: tried.kernels, rejected, files };
  }
  return { own, rejected, files };
}
