// `gblr import`: makes a model folder from a PyTorch checkpoint, without running any code in it, or from a GGUF file. The
// tensors of an unknown model are written as safetensors. This file has the options and chooses one of four imports:
// models/weights for bare weights and for GGUF, models/reference or, for unknown models, hub/checkpoint.

import process from "node:process";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type ImportSummary, importCheckpoint, outputsIn } from "../../hub/checkpoint/index.ts";
import { isGguf } from "../../hub/gguf/index.ts";
import { ModelError } from "../../hub/model-folder/index.ts";
import { countFrom, FORCE, JSON_DOCUMENT } from "./shared/options.ts";
import { CommandFailed, UsageError, verb } from "./shared/program.ts";
import { progressLine, throttled } from "./shared/progress.ts";
import { type Cell, formatBytes, type Palette, paletteFor, table } from "./shared/terminal.ts";

interface ImportVerbOptions extends WeightsFlags {
  out: string;
  dtype?: string;
  raw?: boolean;
  masks?: (typeof MASKS)[number];
  maxShardSize?: number;
  force?: boolean;
  json?: boolean;
}

/** Properties of a model that the shapes of its tensors do not determine. */
interface WeightsFlags {
  ropeTheta?: number;
  dropHead?: boolean;
  heads?: number;
  imageSize?: number;
  mean?: [number, number, number];
  std?: [number, number, number];
}

const MASKS = ["gaussian", "boxcar"] as const;
const SUMMARY = "make a model folder from a GGUF file or a PyTorch checkpoint, without running code in it";

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
Makes a model folder, which all other verbs can read, from

- a GGUF file of llama.cpp with a model of architecture llama (Mistral too),
  qwen2, qwen3, smollm3 or gpt2. Its weights are dequantized. The folder gets
  config.json, the tokenizer, the chat template and generation_config.json. Of
  a model in several files, give the first. A file on the Hub is given as
  owner/name/file.gguf, and is pulled;
- weights of a GPT-2, Llama (also Mistral, Qwen2, Qwen3, SmolLM3), ViT,
  MLP-Mixer or ResNet (-18, -34, -50, -101, -152) with the tensor names of timm,
  torchvision or Hugging Face. Names and shapes determine the model. Other
  properties get their usual values, which are printed with the flags that
  change them;
- a checkpoint with GBLR layers, as the trainer of the method's authors writes
  it.

From any other file, the tensors are written to model.safetensors unchanged, and
everything else to hyperparameters.json.
`.trim();

export function addImport(program: Command): void {
  verb(program, {
    name: "import",
    summary: SUMMARY,
    example: [
      "gblr import weights.pth --out models/resnet18",
      "gblr import SmolLM2-135M-Instruct.Q4_1.gguf --dtype bfloat16 --out models/smollm2",
      "gblr import owner/name-GGUF/name-Q8_0.gguf --out models/name",
      "gblr import last.ckpt --out models/vit-gblr --json",
    ].join("\n"),
  })
    .summary(SUMMARY)
    .description(DESCRIPTION)
    .argument(
      "<file>",
      "a .gguf file on the disk or on the Hub, a .ckpt, .pth, .pt or .bin file written by torch.save, or a .safetensors file",
    )
    .requiredOption("--out <folder>", "folder to write the model to")
    .addOption(
      new Option(
        "--dtype <type>",
        "type of the weights of a GGUF file (default: float32 if any are quantized, else unchanged)",
      ).choices(Object.keys(DTYPES)),
    )
    .option("--raw", "write the tensors unchanged, whatever model they are of")
    .option("--heads <count>", "attention heads, if the file does not determine them", countFrom(1))
    .option("--rope-theta <base>", "base of rotary positions, if the file does not determine it", baseOf)
    .option("--drop-head", "leave the head out, e.g. one of several layers; finetune --new-head trains a new one")
    .option("--image-size <pixels>", "edge of the input image, if the file does not determine it", countFrom(1))
    .option("--mean <r,g,b>", "mean to subtract from each color, in 0 to 1 (default: the usual one)", colors)
    .option("--std <r,g,b>", "standard deviation to divide each color by (default: the usual one)", deviations)
    .addOption(
      new Option("--masks <kind>", "masks of GBLR layers, if the checkpoint does not determine them").choices(MASKS),
    )
    .option("--max-shard-size <size>", "largest size of one file, e.g. 500MB (default: 5GB)", parseSize)
    .option("--force", FORCE)
    .option("--json", JSON_DOCUMENT)
    .action(importVerb);
}

async function importVerb(file: string, options: ImportVerbOptions): Promise<void> {
  const { json = false } = options;
  const palette = paletteFor(process.stdout, process.env);
  const { summary, text } = await importAs(await kindOf(file, options), file, options);
  process.stdout.write(`${json ? JSON.stringify(summary, null, 2) : text(palette)}\n`);
}

/** Types that weights of a GGUF file can be written in, by the names of PyTorch and of GGUF. */
const DTYPES: Readonly<Record<string, "F32" | "F16" | "BF16">> = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  f32: "F32",
  f16: "F16",
  bf16: "BF16",
};

type Kind = { kind: "gguf" } | { kind: "reference" } | { kind: "weights"; type: string } | { kind: "raw"; why: string };

/** Determines how a file is imported. Opens the file, but no engine. */
async function kindOf(file: string, { raw = false, ...flags }: ImportVerbOptions): Promise<Kind> {
  if (isGguf(file)) return { kind: "gguf" };
  const { HeadProblem, HeadsUnknown, isSafetensors, recognizeFile } = await import("../models/weights/index.ts");
  if (raw && isSafetensors(file))
    throw new UsageError(`--raw does not apply to ${file}, which is in safetensors already; leave it out`);
  if (raw) return { kind: "raw", why: "with --raw" };
  const { isReferenceCheckpoint } = await import("../models/reference/index.ts");
  if (!isSafetensors(file) && (await isReferenceCheckpoint(file))) return { kind: "reference" };
  try {
    const found = await recognizeFile(file, flags);
    if (found) return { kind: "weights", type: found.architecture.type };
  } catch (error) {
    // If no flag was given and none would help, the tensors are written unchanged.
    const isAsked = WEIGHTS_FLAGS.some((flag) => flags[flag] !== undefined);
    const isFinal = error instanceof HeadsUnknown || error instanceof HeadProblem || isAsked || isSafetensors(file);
    if (!(error instanceof ModelError) || isFinal) throw error;
    return { kind: "raw", why: error.message.slice(error.file.length + 2) };
  }
  const why = "its tensors are not those of a GPT-2, Llama, ViT, MLP-Mixer or ResNet";
  if (isSafetensors(file)) throw new CommandFailed(`${file} cannot be made a model folder: ${why}`);
  return { kind: "raw", why };
}

interface Imported {
  /** the document of --json */
  summary: object;
  text(palette: Palette): string;
}

async function importAs(kind: Kind, file: string, options: ImportVerbOptions): Promise<Imported> {
  const { out, maxShardSize, force = false, heads, masks } = options;
  const common = { out, force, heads, ...(maxShardSize !== undefined && { maxShardBytes: maxShardSize }) };
  if (kind.kind === "gguf") {
    expectNone(options, ["raw", "masks", ...WEIGHTS_FLAGS], `to ${file}, a GGUF file`);
    const { importGgufWithProgress, localGguf, printGgufSummary } = await import("./import/gguf.ts");
    const dtype = options.dtype === undefined ? undefined : DTYPES[options.dtype];
    const summary = await importGgufWithProgress(await localGguf(file, options), { ...common, dtype });
    return { summary, text: (palette) => printGgufSummary(summary, palette) };
  }
  expectNone(options, ["dtype"], `to ${file}, which is not a GGUF file`);
  if (kind.kind === "reference") {
    expectNone(options, ["ropeTheta", "dropHead", ...IMAGE_FLAGS], `to ${file}, which has GBLR layers`);
    const { importReferenceWithProgress, printReferenceSummary } = await import("./import/weights.ts");
    const gaussian = masks === undefined ? undefined : masks === "gaussian";
    const summary = await importReferenceWithProgress(file, { ...common, gaussian });
    return { summary, text: (palette) => printReferenceSummary(summary, palette) };
  }
  if (kind.kind === "weights") {
    expectNone(options, ["masks", ...(MEANINGLESS[kind.type] ?? [])], `to ${file}, a dense ${kind.type}`);
    const { importWeightsWithProgress, printWeightsSummary } = await import("./import/weights.ts");
    const { ropeTheta, dropHead, imageSize, mean, std } = options;
    const flags = { ropeTheta, dropHead, imageSize, mean, std };
    const summary = await importWeightsWithProgress(file, { ...common, ...flags });
    return { summary, text: (palette) => printWeightsSummary(summary, palette) };
  }
  const { raw = false } = options;
  expectNone(options, [...WEIGHTS_FLAGS, "masks"], raw ? "with --raw" : `to ${file}: ${kind.why}`);
  const [existing] = force ? [] : await outputsIn(out);
  if (existing) throw new CommandFailed(`${out} already has ${existing}; pass --force to replace it`);
  const summary = await importWithProgress(file, { out, maxShardBytes: maxShardSize });
  const missing = raw ? undefined : kind.why;
  return {
    summary: missing === undefined ? summary : { ...summary, noConfig: missing },
    text: (palette) => printSummary(summary, palette, missing),
  };
}

const IMAGE_FLAGS = ["imageSize", "mean", "std"] as const;
const WEIGHTS_FLAGS = ["heads", "ropeTheta", "dropHead", ...IMAGE_FLAGS] as const;

/** Flags that do not apply, by `model_type`. */
const MEANINGLESS: Readonly<Record<string, readonly (keyof WeightsFlags)[]>> = {
  gpt2: ["ropeTheta", ...IMAGE_FLAGS],
  llama: IMAGE_FLAGS,
  vit: ["ropeTheta"],
  resnet: ["heads", "ropeTheta"],
  mixer: ["heads", "ropeTheta"],
};

function expectNone(options: ImportVerbOptions, flags: readonly (keyof ImportVerbOptions)[], where: string): void {
  const given = flags.find((flag) => options[flag] !== undefined);
  if (given === undefined) return;
  const flag = given.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new UsageError(`--${flag} does not apply ${where}; leave it out`);
}

async function importWithProgress(
  file: string,
  options: { out: string; maxShardBytes?: number | undefined },
): Promise<ImportSummary> {
  const line = progressLine();
  const show = throttled(line);
  let total = 0;
  let done = 0;
  try {
    line.show(`reading ${file} …`);
    for await (const event of importCheckpoint(file, options)) {
      if (event.kind === "imported") return event.summary;
      if (event.kind === "opened") total = event.bytes;
      else {
        done += event.bytes;
        show(() => `${formatBytes(done)} of ${formatBytes(total)}  ${event.tensor}`);
      }
    }
    throw new CommandFailed(`${file}: the import ended early`);
  } finally {
    line.clear();
  }
}

/** The summary as text. @param missing the reason why there is no config.json; undefined with --raw */
function printSummary(
  { file, out, files, tensors, bytes, dtypes, tied }: ImportSummary,
  palette: Palette,
  missing: string | undefined,
): string {
  const row = (name: string, count: number, size: number): Cell[] => [
    { text: name },
    { text: String(count), align: "right" },
    { text: formatBytes(size), align: "right" },
  ];
  const heading = ["dtype", "tensors", "size"].map(
    (text, i): Cell => ({ text, paint: palette.dim, align: i === 0 ? "left" : "right" }),
  );
  const rows = Object.entries(dtypes).map(([dtype, held]) => row(dtype, held.tensors, held.bytes));
  const lines = table([heading, ...rows, row("total", tensors, bytes)]);
  const ties = Object.entries(tied).map(([name, first]) => `  ${name} shares the values of ${first}`);
  const title = palette.bold(`${file} → ${out}`);
  const note =
    missing === undefined ? [] : [`  ${palette.dim("missing")} config.json, which other verbs need: ${missing}`];
  return [title, ...lines, ...ties, `  ${palette.dim("written")} ${files.join(", ")}`, ...note].join("\n");
}

/** Parser of three numbers, for red, green and blue. */
function colors(text: string): [number, number, number] {
  const values = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (values.length === 3 && values.every(Number.isFinite)) return values as [number, number, number];
  throw new InvalidArgumentError("It must be three numbers such as 0.485,0.456,0.406.");
}

function baseOf(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (value > 1 && Number.isFinite(value)) return value;
  throw new InvalidArgumentError("It must be a number above 1 such as 10000.");
}

function deviations(text: string): [number, number, number] {
  const values = colors(text);
  if (values.every((value) => value > 0)) return values;
  throw new InvalidArgumentError("It must be three numbers above 0 such as 0.229,0.224,0.225.");
}

const UNITS: Record<string, number> = { "": 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9 };

function parseSize(text: string): number {
  const [, digits, unit = ""] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text) ?? [];
  const bytes = Number(digits) * (UNITS[unit.toLowerCase()] ?? Number.NaN);
  if (!(bytes >= 1)) throw new InvalidArgumentError("It must be a size such as 500MB or 5GB.");
  return Math.floor(bytes);
}
