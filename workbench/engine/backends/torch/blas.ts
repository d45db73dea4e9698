// Inspects the library that multiplies matrices for the torch engine on the CPU: its name, its kernels, who chose them,
// and the speed of other kernels. `gblr doctor` prints the result.

import type { Rejected } from "../../../../native/blas/blas-kernels.ts";
import { CORE_TYPE, type Kernels, probeLibtorch, sameKernels } from "../../../../native/blas/blas-probe.ts";
import { kernelsFor } from "../../../../native/blas/kernel-record.ts";
import { loadAddon } from "./addon.ts";

/** The library that multiplies matrices, as `gblr doctor` reports it. */
export interface BlasReport {
  /** e.g. `OpenBLAS 0.3.21`, `oneMKL 2025.3` */
  library: string;
  /** only for OpenBLAS */
  kernels?: KernelReport;
}

/** The kernels of OpenBLAS in use, and the kernels that were tried. */
export interface KernelReport {
  /** OpenBLAS's name for the kernels in use, e.g. `SkylakeX` */
  core: string;
  chosenBy: "OpenBLAS" | "gblr" | typeof CORE_TYPE;
  /** speed of these kernels; absent if it could not be measured */
  measured?: Kernels;
  /** the kernels without the user's variable, or OpenBLAS's own choice if gblr made another one */
  otherwise?: Kernels;
  /** wider kernels that were tried and not used */
  rejected: readonly Rejected[];
  /** one clause: why no kernels could be tried; OpenBLAS's choice is then kept */
  failure?: string;
}

/**
 * Inspects the BLAS. If it is OpenBLAS, its kernels are measured, which takes about a second.
 * @throws EngineError when the native engine is not available
 */
export function inspectBlas(): BlasReport {
  const { addon, stamp } = loadAddon();
  const { description, core } = addon.blas();
  const library = shortName(description);
  if (core === undefined) return { library };
  const { chosen, rejected, failure } = kernelsFor(stamp.libtorch);
  const measure = (name: string | undefined) => {
    const probed = probeLibtorch(stamp.libtorch, name);
    return "kernels" in probed ? probed.kernels : undefined;
  };
  const chosenBy = whoChose(core, chosen?.core);
  const measured = measure(core);
  const otherwise = chosenBy === "OpenBLAS" ? undefined : measure(chosenBy === CORE_TYPE ? chosen?.core : undefined);
  const differs = otherwise !== undefined && !sameKernels(otherwise.core, core);
  const found = { ...(measured && { measured }), ...(differs && { otherwise }), ...(failure && { failure }) };
  return { library, kernels: { core, chosenBy, rejected, ...found } };
}

function whoChose(inUse: string, ours: string | undefined): KernelReport["chosenBy"] {
  const asked = process.env[CORE_TYPE];
  // OpenBLAS ignores a name that it does not know, and chooses itself.
  if (asked !== undefined) return sameKernels(asked, inUse) ? CORE_TYPE : "OpenBLAS";
  return ours !== undefined && sameKernels(ours, inUse) ? "gblr" : "OpenBLAS";
}

/** The name and version in a BLAS's description of itself, or the whole description if they are not found. */
function shortName(description: string): string {
  const mkl = description.match(/Math Kernel Library Version ([\d.]+)/)?.[1];
  return mkl === undefined ? (description.match(/^OpenBLAS \S+/)?.[0] ?? description) : `oneMKL ${mkl}`;
}
