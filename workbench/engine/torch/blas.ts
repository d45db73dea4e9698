// What multiplies matrices for the torch engine on the CPU: which library, which of its kernels, who chose them, and what
// another choice would give.

import type { Rejected } from "../../../native/blas-kernels.ts";
import { CORE_TYPE, type Kernels, probeLibtorch } from "../../../native/blas-probe.ts";
import { kernelsFor } from "../../../native/kernel-record.ts";
import { loadAddon } from "./addon.ts";

export interface BlasReport {
  /** e.g. `OpenBLAS 0.3.21`, `oneMKL 2025.3` */
  library: string;
  /** of OpenBLAS alone */
  kernels?: KernelReport;
}

export interface KernelReport {
  /** OpenBLAS's name for the kernels in use, e.g. `SkylakeX` */
  core: string;
  chosenBy: "OpenBLAS" | "gblr" | typeof CORE_TYPE;
  /** of these kernels; absent where they could not be measured */
  measured?: Kernels;
  /** without the user's variable; or OpenBLAS's own choice, where gblr made another */
  otherwise?: Kernels;
  /** wider kernels that were tried and not taken */
  rejected: readonly Rejected[];
}

/** Measures for about a second where the BLAS is OpenBLAS. Throws EngineError without the native engine. */
export function inspectBlas(): BlasReport {
  const { addon, stamp } = loadAddon();
  const { description, core } = addon.blas();
  const library = shortName(description);
  if (core === undefined) return { library };
  const asked = process.env[CORE_TYPE];
  const { chosen, rejected } = kernelsFor(stamp.libtorch);
  const isInUse = (name: string | undefined) => name?.toLowerCase() === core.toLowerCase();
  const measure = (name: string | undefined) => {
    const probed = probeLibtorch(stamp.libtorch, name);
    return "kernels" in probed ? probed.kernels : undefined;
  };
  const report = (chosenBy: KernelReport["chosenBy"], otherwise?: Kernels): BlasReport => {
    const measured = measure(core);
    return {
      library,
      kernels: {
        core,
        chosenBy,
        ...(measured && { measured }),
        ...(otherwise && !isInUse(otherwise.core) && { otherwise }),
        rejected,
      },
    };
  };
  if (isInUse(asked)) return report(CORE_TYPE, measure(chosen?.core));
  // OpenBLAS passes over a name that it does not know.
  if (asked !== undefined || !isInUse(chosen?.core)) return report("OpenBLAS");
  return report("gblr", measure(undefined));
}

/** The first words of what a BLAS says of itself, or all of it. */
function shortName(description: string): string {
  const mkl = description.match(/Math Kernel Library Version ([\d.]+)/)?.[1];
  return mkl === undefined ? (description.match(/^OpenBLAS \S+/)?.[0] ?? description) : `oneMKL ${mkl}`;
}
