// `gblr export`: writes a compressed model as a dense checkpoint, or under the names of the reference implementation.
// The work is in compress/ and models/.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { type Command, Option } from "commander";
import { TRAINABLE_FILE } from "../../hub/model-folder/index.ts";
import { formatBytes } from "../../hub/text/numbers.ts";
import { exportDense, referenceTensors } from "../compress/index.ts";
import type { OpenEngineOptions } from "../engine/core/types.ts";
import {
  FILE_TYPES,
  type FileType,
  type Model,
  prepareFolder,
  type SaveEvent,
  storedConfig,
  writeModelFolder,
} from "../models/index.ts";
import { fetchModel } from "../pipeline/fetch.ts";
import { load } from "../pipeline/load.ts";
import { type Saved, save, saved } from "../pipeline/save.ts";
import type { PipelineEvent, StageContext } from "../pipeline/stage.ts";
import { addEngineOptions, openEngineFor } from "./shared/options.ts";
import { UsageError, verb } from "./shared/program.ts";
import { expectPlaceForModel, runStages } from "./shared/stages.ts";

const TARGETS = ["dense", "reference"] as const;
/** What has become of the layers, by target. */
const MADE = { dense: "made dense", reference: "as the reference has them" };

interface ExportVerbOptions extends OpenEngineOptions {
  to: (typeof TARGETS)[number];
  out: string;
  dtype: FileType;
  force?: boolean;
  json?: boolean;
}

const SUMMARY = "write a compressed model as a dense checkpoint, or under the reference's names";

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
--to dense      a plain checkpoint that any program loads: every layer as the
                matrix that it is in evaluation, official names and config.json
--to reference  model.safetensors with the parameters and buffers that the
                authors' PyTorch layers have (lr_weight1, lr_weight2, widths,
                locations, sigma, freq_in, freq_out). From a folder without
                trainable.safetensors dead blocks are zeros
`.trim();

export function addExport(program: Command): void {
  const command = verb(program, {
    name: "export",
    summary: SUMMARY,
    example: [
      "gblr export models/gpt2-gblr --to dense --dtype bfloat16 --out models/gpt2-dense",
      "gblr export owner/gpt2-gblr --to reference --out models/gpt2-reference",
    ].join("\n"),
  })
    .summary(SUMMARY)
    .description(DESCRIPTION)
    .argument("<model>", "a model folder, owner/name[@revision] on the Hub, or zoo:gpt2-gaudi")
    .addOption(new Option("--to <form>", "what to write").choices(TARGETS).makeOptionMandatory())
    .requiredOption("--out <folder>", "where the model goes")
    .addOption(
      new Option("--dtype <type>", "of the numbers in the file").choices(Object.keys(FILE_TYPES)).default("float32"),
    );
  addEngineOptions(command)
    .option("--force", "replace the model that is in the folder")
    .option("--json", "one JSON document on stdout")
    .action(exportVerb);
}

async function exportVerb(name: string, options: ExportVerbOptions): Promise<void> {
  const { to, out, dtype, force = false, json = false } = options;
  if (to === "reference" && dtype !== "float32") {
    throw new UsageError(`--to reference is float32, as the reference trains it, not ${dtype}`);
  }
  await expectPlaceForModel(out, { force });
  const interrupted = "interrupted; nothing was written";
  const { layers, files, bytes } = await runStages({ interrupted }, (context) => exported(name, options, context));
  const made = MADE[to];
  const text = json
    ? JSON.stringify({ model: name, to, out, dtype, layers, files, bytes }, null, 2)
    : `${out}: ${formatBytes(bytes)} of ${dtype}, ${layers.length} layers ${made}`;
  process.stdout.write(`${text}\n`);
}

/** Fetch, load, export, save. */
async function* exported(
  name: string,
  options: ExportVerbOptions,
  context: StageContext,
): AsyncGenerator<PipelineEvent, Saved & { layers: string[] }> {
  const { to, out, dtype } = options;
  const { folder } = yield* fetchModel(name, { ...context, trainable: to === "reference" });
  await openEngineFor(options);
  const hasTrainable = (await stat(join(folder, TRAINABLE_FILE)).catch(() => undefined)) !== undefined;
  const model = yield* load(folder, to === "reference" && hasTrainable ? { form: "trainable" } : {});
  try {
    const layers = structuredLayers(model);
    const { signal } = context;
    if (to !== "reference") {
      exportDense(model);
      return { layers, ...(yield* save(model, out, { dtype, base: { folder }, signal })) };
    }
    return { layers, ...(yield* saved(referenceEvents(model, { out, base: folder }), signal)) };
  } finally {
    model.dispose();
  }
}

const structuredLayers = (model: Model): string[] =>
  [...model.layers.values()].flatMap(({ name, structure }) => (structure.isDense ? [] : [name]));

async function* referenceEvents(model: Model, { out, base }: { out: string; base: string }): AsyncGenerator<SaveEvent> {
  const tensors = await referenceTensors(model);
  const config = await storedConfig(model, { layers: {} });
  await prepareFolder(out);
  yield* writeModelFolder(out, { model: tensors, config, base });
}
