// `gblr export`: writes a compressed model as a dense checkpoint, in the format of the reference implementation, as ONNX
// or as GGUF. The conversion of the layers is in compress/, the writing of the folder in models/, ONNX and GGUF in export/.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { type Command, Option } from "commander";
import { TRAINABLE_FILE } from "../../hub/model-folder/index.ts";
import { countOf, formatBytes } from "../../hub/text/numbers.ts";
import { exportDense, referenceTensors } from "../compress/index.ts";
import type { OpenEngineOptions } from "../engine/core/types.ts";
import {
  FILE_TYPES,
  layersKeptExact,
  MOST_INT8_ERROR,
  type Model,
  prepareFolder,
  type SavedType,
  type SaveEvent,
  storedConfig,
  writeModelFolder,
} from "../models/index.ts";
import { fetchModel } from "../pipeline/fetch.ts";
import { load } from "../pipeline/load.ts";
import { type Saved, save, saved } from "../pipeline/save.ts";
import type { PipelineEvent, StageContext } from "../pipeline/stage.ts";
import { expectGgufName, exportedGguf } from "./export/gguf.ts";
import { exportedOnnx } from "./export/onnx.ts";
import { addEngineOptions, FORCE, JSON_DOCUMENT, MODEL_ARGUMENT, openEngineFor } from "./shared/options.ts";
import { UsageError, verb } from "./shared/program.ts";
import { expectPlaceForModel, runStages } from "./shared/stages.ts";

const TARGETS = ["dense", "packed", "reference", "onnx", "gguf"] as const;
/** What is done with the model before it is saved, by target. Default: nothing */
const BEFORE: Partial<Record<(typeof TARGETS)[number], (model: Model) => unknown>> = { dense: exportDense };
/** What writes files of other formats than model folders, by target. */
const FILES: Partial<Record<(typeof TARGETS)[number], typeof exportedOnnx>> = {
  onnx: exportedOnnx,
  gguf: exportedGguf,
};
/** Text about the layers in the summary, by target. */
const MADE = {
  dense: "converted to dense",
  packed: "kept as structured",
  reference: "in the reference's format",
  onnx: "structured",
  gguf: "merged to dense",
};

interface ExportVerbOptions extends OpenEngineOptions {
  to: (typeof TARGETS)[number];
  out: string;
  dtype: SavedType;
  withPast?: boolean;
  force?: boolean;
  json?: boolean;
}

const SUMMARY =
  "write a compressed model in half precision, as a dense checkpoint, as ONNX or GGUF, or in the reference's format";

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
Writes a compressed model in a format that other programs can load.

--to dense      a dense checkpoint with the architecture's usual tensor names
                and config.json. Each compressed layer becomes the matrix that
                it applies in evaluation. With --dtype int8, Python needs the
                files of the folder to read it.
--to packed     the model for inference, with --dtype bfloat16 or float16 in
                half the bytes, with int8 in about 27 %. Products are computed
                in float32. Layers whose blocks cancel each other stay in
                float32; convert with --stable-blocks to store them smaller.
--to reference  model.safetensors with the parameters and buffers of the
                authors' PyTorch layers: lr_weight1, lr_weight2, widths,
                locations, sigma, freq_in, freq_out. If the model folder has
                no trainable.safetensors, blocks that are not live are zeros.
--to onnx       an ONNX file of standard operators, if --out ends in .onnx,
                else a folder with onnx/model.onnx, config.json and tokenizer.
                GBLR layers keep their packed size; with --dtype as packed.
--to gguf       one file for llama.cpp, with the tokenizer: GPT-2, Llama,
                Mistral, Qwen2, Qwen3 and SmolLM3. Layers become dense.
`.trim();

export function addExport(program: Command): void {
  const command = verb(program, {
    name: "export",
    summary: SUMMARY,
    example: [
      "gblr export models/gpt2-gblr --to dense --dtype bfloat16 --out models/gpt2-dense",
      "gblr export models/gpt2-gblr --to packed --dtype bfloat16 --out models/gpt2-gblr-half",
      "gblr export models/gpt2-gblr --to packed --dtype int8 --out models/gpt2-gblr-int8",
      "gblr export owner/gpt2-gblr --to reference --out models/gpt2-reference",
      "gblr export models/gpt2-gblr --to onnx --with-past --out models/gpt2-onnx",
      "gblr export owner/smollm2-gblr --to gguf --dtype bfloat16 --out smollm2.gguf",
    ].join("\n"),
  })
    .summary(SUMMARY)
    .description(DESCRIPTION)
    .argument("<model>", MODEL_ARGUMENT)
    .addOption(new Option("--to <format>", "format to write").choices(TARGETS).makeOptionMandatory())
    .requiredOption("--out <folder>", "folder to write the model to; for onnx also a file, for gguf a file")
    .addOption(
      new Option("--dtype <type>", "type of the stored numbers")
        .choices([...Object.keys(FILE_TYPES), "int8"])
        .default("float32"),
    )
    .option("--with-past", "onnx: keys and values of earlier tokens are inputs, and those of all tokens outputs");
  addEngineOptions(command).option("--force", FORCE).option("--json", JSON_DOCUMENT).action(exportVerb);
}

async function exportVerb(name: string, options: ExportVerbOptions): Promise<void> {
  const { to, out, dtype, json = false } = options;
  checkUsage(options);
  if (!Object.hasOwn(FILES, to)) await expectPlaceForModel(out, { force: options.force ?? false });
  const interrupted = "interrupted; nothing was written";
  const { layers, exact, files, bytes } = await runStages({ interrupted, json }, (context) =>
    exported(name, options, context),
  );
  const made = MADE[to];
  const text = json
    ? JSON.stringify({ model: name, to, out, dtype, layers, ...(exact.length > 0 && { exact }), files, bytes }, null, 2)
    : `${out}: ${formatBytes(bytes)} of ${dtype}, ${countOf(layers.length, "layer")} ${made}`;
  process.stdout.write(`${text}\n`);
  if (exact.length > 0) process.stderr.write(`gblr: ${keptExact(exact, dtype)}\n`);
}

/** @throws UsageError for options that contradict each other */
function checkUsage({ to, out, dtype, withPast }: ExportVerbOptions): void {
  if (to === "reference" && dtype !== "float32") {
    throw new UsageError(`--to reference writes float32 only, not ${dtype}; leave out --dtype`);
  }
  if (to === "gguf") expectGgufName(out);
  if (dtype === "int8" && Object.hasOwn(FILES, to)) {
    throw new UsageError(
      `--dtype int8 is for --to packed and dense, not ${to}; use bfloat16, or that program's own types`,
    );
  }
  if (withPast && to !== "onnx") throw new UsageError(`--with-past is for --to onnx, not ${to}; leave it out`);
}

/** Says which layers are not rounded, in one line. */
function keptExact(names: readonly string[], dtype: SavedType): string {
  const [first, ...others] = names;
  const who = others.length > 0 ? `${first} and ${countOf(others.length, "other layer")}` : `${first}`;
  const why =
    dtype === "int8"
      ? `${dtype} would change ${others.length > 0 ? "them" : "it"} by more than ${100 * MOST_INT8_ERROR} %; convert with --stable-blocks for smaller files`
      : "the blocks cancel each other and would not stand rounding; convert with --stable-blocks for half precision";
  return `${who}: stored in float32, because ${why}`;
}

/** Runs the stages fetch, load, export and save. */
async function* exported(
  name: string,
  options: ExportVerbOptions,
  context: StageContext,
): AsyncGenerator<PipelineEvent, Saved & { layers: string[]; exact: string[] }> {
  const { to, out, dtype } = options;
  const toFile = FILES[to];
  if (toFile && dtype !== "int8") return yield* toFile(name, { ...options, dtype }, context);
  const { folder } = yield* fetchModel(name, { ...context, trainable: to === "reference" });
  await openEngineFor(options);
  const hasTrainable = (await stat(join(folder, TRAINABLE_FILE)).catch(() => undefined)) !== undefined;
  const model = yield* load(folder, to === "reference" && hasTrainable ? { form: "trainable" } : {});
  try {
    const layers = structuredLayers(model);
    const { signal } = context;
    if (to !== "reference") {
      BEFORE[to]?.(model);
      const exact = dtype === "float32" ? [] : await layersKeptExact(model, dtype);
      return { layers, exact, ...(yield* save(model, out, { dtype, exact, base: { folder }, signal })) };
    }
    return { layers, exact: [], ...(yield* saved(referenceEvents(model, { out, base: folder }), signal)) };
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
