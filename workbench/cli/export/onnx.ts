// The part of `gblr export` that writes ONNX files. It checks the place, runs the stages and gives the summary.

import { isLanguageModel } from "../../architectures/task.ts";
import type { OpenEngineOptions } from "../../engine/core/types.ts";
import { type FileType, layersKeptExact } from "../../models/index.ts";
import { onnxPlace, saveOnnx } from "../../pipeline/export/onnx.ts";
import { fetchModel } from "../../pipeline/fetch.ts";
import { load } from "../../pipeline/load.ts";
import type { Saved } from "../../pipeline/save.ts";
import type { PipelineEvent, StageContext } from "../../pipeline/stage.ts";
import { openEngineFor } from "../shared/options.ts";
import { UsageError } from "../shared/program.ts";
import { versionsOf } from "../shared/versions.ts";
import { expectPlaceForFile, expectPlaceForFolder } from "./place.ts";

interface OnnxVerbOptions extends OpenEngineOptions {
  out: string;
  dtype: FileType;
  withPast?: boolean;
  keep?: number;
  force?: boolean;
}

/** Runs the stages fetch, load and export. @returns files, bytes, and names of structured and of exact layers */
export async function* exportedOnnx(
  name: string,
  options: OnnxVerbOptions,
  context: StageContext,
): AsyncGenerator<PipelineEvent, Saved & { layers: string[]; exact: string[] }> {
  const { out, dtype, withPast = false, keep, force = false } = options;
  const { folder: base } = yield* fetchModel(name, context);
  const place = onnxPlace(out, base);
  await expectPlaceForFile(place.file, { extension: ".onnx", force });
  if (place.folder !== undefined) await expectPlaceForFolder(place.folder, { force });
  const engine = await openEngineFor(options);
  const model = yield* load(base, { keep });
  try {
    if (withPast && !isLanguageModel(model)) {
      throw new UsageError(`--with-past is for language models, ${name} classifies images; leave it out`);
    }
    const layers = [...model.layers.values()].flatMap((layer) => (layer.structure.isDense ? [] : [layer.name]));
    const version = versionsOf(engine).gblr as string;
    const exact = dtype === "float32" ? [] : await layersKeptExact(model);
    const settings = { base, withPast, dtype, exact, version, signal: context.signal };
    return { ...(yield* saveOnnx(model, { ...place, ...settings })), layers, exact };
  } finally {
    model.dispose();
  }
}
