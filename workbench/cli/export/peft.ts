// The part of `gblr export` that writes the adapters of a run as PEFT's files. It checks the options and the place, and
// gives the summary. No engine is needed.

import type { SavedType } from "../../models/index.ts";
import { peftOfRun, writePeft } from "../../pipeline/export/peft.ts";
import type { Saved } from "../../pipeline/save.ts";
import type { PipelineEvent, StageContext } from "../../pipeline/stage.ts";
import { UsageError } from "../shared/program.ts";
import { expectPlaceForModel } from "../shared/stages.ts";

interface PeftVerbOptions {
  out: string;
  force?: boolean;
}

/** @throws UsageError for options that are about other formats */
export function expectPeftUsage({ dtype, keep }: { dtype: SavedType; keep?: number | undefined }): void {
  if (keep !== undefined) {
    throw new UsageError("--keep cuts compressed layers, --to peft is for dense ones; leave it out");
  }
  if (dtype !== "float32") throw new UsageError(`--to peft writes float32 only, not ${dtype}; leave out --dtype`);
}

/** Reads the run and writes the files. @returns files, bytes, and names of the layers with adapters; none is exact */
// biome-ignore lint/correctness/useYield: adapters are small, so that no progress is reported
export async function* exportedPeft(
  name: string,
  { out, force = false }: PeftVerbOptions,
  { signal }: StageContext,
): AsyncGenerator<PipelineEvent, Saved & { layers: string[]; exact: string[] }> {
  await expectPlaceForModel(out, { force });
  const files = await peftOfRun(name);
  signal.throwIfAborted();
  return { ...(await writePeft(files, out)), layers: files.layers, exact: [] };
}
