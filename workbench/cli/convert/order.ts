// `gblr convert --structure dense --reorder`: writes the dense model with its units in another order, and converts no
// layer.

import process from "node:process";
import { formatBytes } from "../../../hub/text/numbers.ts";
import { openCalibration } from "../../pipeline/calibration/calibrate.ts";
import { fetchModel } from "../../pipeline/fetch.ts";
import { load } from "../../pipeline/load.ts";
import {
  type Reordered,
  type ReorderRequest,
  reorder,
  reorderedLines,
  reorderTexts,
  requestOf,
} from "../../pipeline/reorder.ts";
import { baseOf, type Saved, save } from "../../pipeline/save.ts";
import type { PipelineEvent, StageContext } from "../../pipeline/stage.ts";
import { openEngineFor } from "../shared/options.ts";
import { expectPlaceForModel, runStages } from "../shared/stages.ts";
import { type ConvertVerbOptions, calibrationSettingsOf } from "./options.ts";

/** Runs the verb. The options are checked. */
export async function reorderOnly(name: string, options: ConvertVerbOptions): Promise<void> {
  const { force = false, json = false } = options;
  const out = options.out as string;
  await expectPlaceForModel(out, { force });
  const interrupted = "interrupted; nothing was written";
  const { files, bytes, ...reordered } = await runStages({ interrupted, json }, (context) =>
    reorderAndSave(name, options, context),
  );
  const text = json
    ? JSON.stringify({ model: name, out, ...reordered, files, bytes }, null, 2)
    : [`${out}: ${formatBytes(bytes)}, reordered by ${reordered.order}`, ...reorderedLines(reordered)].join("\n  ");
  process.stdout.write(`${text}\n`);
}

/** Runs the stages fetch, load, reorder and save. */
async function* reorderAndSave(
  name: string,
  options: ConvertVerbOptions,
  context: StageContext,
): AsyncGenerator<PipelineEvent, Reordered & Saved> {
  const { signal } = context;
  const source = yield* fetchModel(name, context);
  await openEngineFor(options);
  const model = yield* load(source.folder, { dtype: options.dtype });
  try {
    const settings = calibrationSettingsOf(options);
    const data = settings && (yield* openCalibration(settings, { model, source, context }));
    let reordered: Reordered;
    try {
      reordered = yield* reorder(model, requestOf(options) as ReorderRequest, { data, signal });
    } finally {
      for (const text of (await data?.close()) ?? []) yield { kind: "note", text };
    }
    const texts = await reorderTexts(source.folder, reordered);
    return { ...reordered, ...(yield* save(model, options.out as string, { base: baseOf(source), texts, signal })) };
  } finally {
    model.dispose();
  }
}
