// `gblr export`: writes a compressed model as a dense checkpoint, in the format of the reference implementation, as ONNX
// or as GGUF, or the adapters of a run for PEFT. The conversion of the layers is in compress/, the writing of the folder in
// models/, other formats are in export/.

import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
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
import { fetchModel, type Source } from "../pipeline/fetch.ts";
import { load } from "../pipeline/load.ts";
import { type Saved, save, saved } from "../pipeline/save.ts";
import type { Origin, PipelineEvent, StageContext } from "../pipeline/stage.ts";
import { expectGgufName, exportedGguf } from "./export/gguf.ts";
import { exportedOnnx } from "./export/onnx.ts";
import { expectPeftUsage, exportedPeft } from "./export/peft.ts";
import { afterExport, type BeforeExport, beforeExport, type Stored } from "./export/stored.ts";
import { addCheckData, type CheckFlags, expectCheckData } from "./shared/check-data.ts";
import { addEngineOptions, addKeep, FORCE, JSON_DOCUMENT, MODEL_ARGUMENT, openEngineFor } from "./shared/options.ts";
import { UsageError, verb } from "./shared/program.ts";
import { expectPlaceForModel, runStages } from "./shared/stages.ts";
import { commandLine, versionsOf } from "./shared/versions.ts";

const TARGETS = ["dense", "packed", "reference", "onnx", "gguf", "peft"] as const;
/** What is done with the model before it is saved, by target. Default: nothing */
const BEFORE: Partial<Record<(typeof TARGETS)[number], (model: Model) => unknown>> = { dense: exportDense };
/** What writes files of other formats than model folders, by target. */
const FILES: Partial<Record<(typeof TARGETS)[number], typeof exportedOnnx>> = {
  onnx: exportedOnnx,
  gguf: exportedGguf,
  peft: exportedPeft,
};
/** Text about the layers in the summary, by target. */
const MADE = {
  dense: "converted to dense",
  packed: "kept as structured",
  reference: "in the reference's format",
  onnx: "structured",
  gguf: "merged to dense",
  peft: "with adapters",
};

interface ExportVerbOptions extends ExportFlags {
  to: (typeof TARGETS)[number];
}

interface ExportFlags extends OpenEngineOptions, CheckFlags {
  to?: (typeof TARGETS)[number];
  out: string;
  dtype: SavedType;
  withPast?: boolean;
  keep?: number;
  force?: boolean;
  json?: boolean;
}

const SUMMARY =
  "write a compressed model in half precision, as a dense checkpoint, as ONNX or GGUF, for PEFT, or as the reference does";

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
                --check measures the model as it is and as it is stored; the
                card of the folder shows both, and the bytes.
--to reference  model.safetensors with the parameters and buffers of the
                authors' PyTorch layers: lr_weight1, lr_weight2, widths,
                locations, sigma, freq_in, freq_out. If the model folder has
                no trainable.safetensors, blocks that are not live are zeros.
                --keep cuts a model of several sizes to one of them first.
--to onnx       an ONNX file of standard operators, if --out ends in .onnx,
                else a folder with onnx/model.onnx, config.json and tokenizer.
                GBLR layers keep their packed size; with --dtype as packed.
--to gguf       one file for llama.cpp, with the tokenizer: GPT-2, Llama,
                Mistral, Qwen2, Qwen3 and SmolLM3. Layers become dense.
--to peft       the adapters of a run of "gblr finetune --lora" on a dense
                language model, for Hugging Face's PEFT. <model> is the run.
`.trim();

export function addExport(program: Command): void {
  const command = verb(program, {
    name: "export",
    summary: SUMMARY,
    example: [
      "gblr export models/gpt2-gblr --to dense --dtype bfloat16 --out models/gpt2-dense",
      "gblr export models/gpt2-gblr --to packed --dtype bfloat16 --out models/gpt2-gblr-half",
      "gblr export models/gpt2-gblr --to packed --dtype int8 --check my-texts --out models/gpt2-gblr-int8",
      "gblr export models/gpt2-sizes --keep 0.5 --out models/gpt2-50",
      "gblr export owner/gpt2-gblr --to reference --out models/gpt2-reference",
      "gblr export models/gpt2-gblr --to onnx --with-past --out models/gpt2-onnx",
      "gblr export runs/gpt2-tuned --to peft --out models/gpt2-adapters",
      "gblr export owner/smollm2-gblr --to gguf --dtype bfloat16 --out smollm2.gguf",
    ].join("\n"),
  })
    .summary(SUMMARY)
    .description(DESCRIPTION)
    .argument("<model>", MODEL_ARGUMENT)
    .addOption(new Option("--to <format>", "format to write (default: packed, with --keep)").choices(TARGETS))
    .requiredOption("--out <folder>", "folder to write the model to; for onnx also a file, for gguf a file")
    .addOption(
      new Option("--dtype <type>", "type of the stored numbers")
        .choices([...Object.keys(FILE_TYPES), "int8"])
        .default("float32"),
    )
    .option("--with-past", "onnx: keys and values of earlier tokens are inputs, and those of all tokens outputs");
  addCheckData(addEngineOptions(addKeep(command)), "measure the model before and after the rounding by --dtype")
    .option("--force", FORCE)
    .option("--json", JSON_DOCUMENT)
    .action(exportVerb);
}

async function exportVerb(name: string, given: ExportFlags): Promise<void> {
  const options = { ...given, to: targetOf(given) };
  const { to, out, dtype, json = false } = options;
  checkUsage(options);
  if (!Object.hasOwn(FILES, to)) await expectPlaceForModel(out, { force: options.force ?? false });
  const interrupted = options.check === undefined ? "interrupted; nothing was written" : INTERRUPTED_CHECK;
  const { layers, exact, files, bytes, stored } = await runStages({ interrupted, json }, (context) =>
    exported(name, options, context),
  );
  const made = MADE[to];
  const { fileBytes, check: { text: checked, ...check } = {} } = stored ?? {};
  const facts = { ...(exact.length > 0 && { exact }), ...(fileBytes && { fileBytes }), ...(checked && { check }) };
  const text = json
    ? JSON.stringify({ model: name, to, out, dtype, layers, ...facts, files, bytes }, null, 2)
    : [`${out}: ${formatBytes(bytes)} of ${dtype}, ${countOf(layers.length, "layer")} ${made}`, checked ?? []]
        .flat()
        .join("\n");
  process.stdout.write(`${text}\n`);
  if (exact.length > 0) process.stderr.write(`gblr: ${keptExact(exact, options)}\n`);
}

const INTERRUPTED_CHECK =
  "interrupted; a model that is written already is whole, but was not checked: give --force to repeat";

/** The format to write. @throws UsageError if it is missing */
function targetOf({ to, keep }: ExportFlags): ExportVerbOptions["to"] {
  if (to !== undefined) return to;
  if (keep !== undefined) return "packed";
  throw new UsageError(`--to is missing; give one of ${TARGETS.join(", ")}`);
}

/** @throws UsageError for options that contradict each other */
function checkUsage({ to, out, dtype, withPast, keep, ...data }: ExportVerbOptions): void {
  expectCheckData(data);
  if (to === "peft") expectPeftUsage({ dtype, keep });
  if (to === "gguf") expectGgufName(out);
  if (data.check !== undefined && (to === "reference" || Object.hasOwn(FILES, to))) {
    throw new UsageError(`--check is for --to packed and dense, not ${to}; leave it out`);
  }
  if (data.check !== undefined && dtype === "float32") {
    throw new UsageError(
      "--check measures what --dtype changes; give --dtype int8, bfloat16 or float16, or use gblr eval",
    );
  }
  if (to === "reference" && keep !== undefined) {
    throw new UsageError("--keep cuts packed layers, --to reference writes all blocks; export --to packed first");
  }
  if (to === "reference" && dtype !== "float32") {
    throw new UsageError(`--to reference writes float32 only, not ${dtype}; leave out --dtype`);
  }
  if (dtype === "int8" && Object.hasOwn(FILES, to)) {
    throw new UsageError(
      `--dtype int8 is for --to packed and dense, not ${to}; use bfloat16, or that program's own types`,
    );
  }
  if (withPast && to !== "onnx") throw new UsageError(`--with-past is for --to onnx, not ${to}; leave it out`);
}

/** Says which layers are not rounded, in one line. */
function keptExact(names: readonly string[], { dtype, keep }: ExportVerbOptions): string {
  const [first, ...others] = names;
  const who = others.length > 0 ? `${first} and ${countOf(others.length, "other layer")}` : `${first}`;
  const why =
    dtype === "int8"
      ? `${dtype} would change ${others.length > 0 ? "them" : "it"} by more than ${100 * MOST_INT8_ERROR} %`
      : "the blocks cancel each other and would not stand rounding";
  // The blocks of a model of several sizes do not cancel each other; those of a cut do.
  const instead =
    keep === undefined
      ? `convert with --stable-blocks for ${dtype === "int8" ? "smaller files" : "half precision"}`
      : `export without --keep to store all sizes in ${dtype}, and cut when the model is used`;
  return `${who}: stored in float32, because ${why}; ${instead}`;
}

/** What an export has written. */
interface Exported extends Saved {
  /** names of structured layers */
  layers: string[];
  /** names of layers that are not rounded */
  exact: string[];
  /** of a model folder in another type than float32 */
  stored?: Stored;
}

/** Runs the stages fetch, load, export and save, and with --check the measurements. */
async function* exported(
  name: string,
  options: ExportVerbOptions,
  context: StageContext,
): AsyncGenerator<PipelineEvent, Exported> {
  const { to, out, dtype } = options;
  const toFile = FILES[to];
  if (toFile && dtype !== "int8") return yield* toFile(name, { ...options, dtype }, context);
  const source = yield* fetchModel(name, { ...context, trainable: to === "reference" });
  const { folder } = source;
  if (options.keep !== undefined && resolve(out) === resolve(folder)) {
    throw new UsageError(`--out ${out} is the model of several sizes, of which one would be left; give another folder`);
  }
  const engine = await openEngineFor(options);
  const origin = { engine, command: commandLine(), versions: versionsOf(engine) };
  const { before, ...done } = yield* savedFolder(source, options, { origin, context });
  if (!before) return done;
  try {
    const stored = yield* afterExport(before, { out, dtype, exact: done.exact, signal: context.signal });
    return { ...done, stored, files: [...done.files, ...stored.files] };
  } finally {
    for (const text of (await before.check?.close()) ?? []) yield { kind: "note", text };
  }
}

/** Loads a model, changes it and saves it. The check of the result must be closed. */
async function* savedFolder(
  source: Source,
  options: ExportVerbOptions,
  { origin, context }: { origin: Origin; context: StageContext },
): AsyncGenerator<PipelineEvent, Exported & { before?: BeforeExport | undefined }> {
  const { to, out, dtype, keep } = options;
  const { folder } = source;
  const { signal } = context;
  const hasTrainable = (await stat(join(folder, TRAINABLE_FILE)).catch(() => undefined)) !== undefined;
  const model = yield* load(folder, to === "reference" && hasTrainable ? { form: "trainable" } : { keep });
  let before: BeforeExport | undefined;
  try {
    const layers = structuredLayers(model);
    if (to === "reference") {
      return { layers, exact: [], ...(yield* saved(referenceEvents(model, { out, base: folder }), signal)) };
    }
    if (dtype !== "float32") before = yield* beforeExport(options, { model, source, origin, context });
    BEFORE[to]?.(model);
    const exact = dtype === "float32" ? [] : await layersKeptExact(model, dtype);
    return { layers, exact, before, ...(yield* save(model, out, { dtype, exact, base: { folder }, signal })) };
  } catch (error) {
    await before?.check?.close();
    throw error;
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
