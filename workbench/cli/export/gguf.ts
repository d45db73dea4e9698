// The part of `gblr export` that writes GGUF files. It checks the place, runs the stages and gives the summary.

import { basename } from "node:path";
import type { OpenEngineOptions } from "../../engine/core/types.ts";
import type { FileType } from "../../models/index.ts";
import { saveGguf } from "../../pipeline/export/gguf.ts";
import { baseName, fetchModel } from "../../pipeline/fetch.ts";
import { load } from "../../pipeline/load.ts";
import type { Saved } from "../../pipeline/save.ts";
import type { PipelineEvent, StageContext } from "../../pipeline/stage.ts";
import { openEngineFor } from "../shared/options.ts";
import { UsageError } from "../shared/program.ts";
import { expectPlaceForFile } from "./place.ts";

interface GgufVerbOptions extends OpenEngineOptions {
  out: string;
  dtype: FileType;
  keep?: number;
  force?: boolean;
}

const EXTENSION = ".gguf";

/** @throws UsageError unless `--out` names a GGUF file */
export function expectGgufName(out: string): void {
  if (!out.endsWith(EXTENSION)) throw new UsageError(`--to gguf writes one file; --out must end in ${EXTENSION}`);
}

/** Runs the stages fetch, load and export. @returns files, bytes, and names of structured layers; none is exact */
export async function* exportedGguf(
  name: string,
  options: GgufVerbOptions,
  context: StageContext,
): AsyncGenerator<PipelineEvent, Saved & { layers: string[]; exact: string[] }> {
  const { out, dtype, keep, force = false } = options;
  const source = yield* fetchModel(name, context);
  await expectPlaceForFile(out, { extension: EXTENSION, force });
  await openEngineFor(options);
  const { folder } = source;
  const model = yield* load(folder, { keep });
  try {
    const layers = [...model.layers.values()].flatMap((layer) => (layer.structure.isDense ? [] : [layer.name]));
    const settings = { folder, name: basename(baseName(source)), dtype, signal: context.signal };
    return { ...(yield* saveGguf(model, out, settings)), layers, exact: [] };
  } finally {
    model.dispose();
  }
}
