// `gblr import`: a PyTorch checkpoint made into safetensors, without running any of it; one of the method's authors' into
// a model. The work is in hub/checkpoint and models/reference; here are the options, the progress and the table.

import process from "node:process";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type ImportSummary, importCheckpoint, outputsIn } from "../../hub/checkpoint/index.ts";
import { countFrom } from "./option-values.ts";
import { CommandFailed, UsageError, verb } from "./program.ts";
import { progressLine, throttled } from "./progress.ts";
import { type Cell, formatBytes, type Palette, paletteFor, table } from "./terminal.ts";

interface ImportVerbOptions {
  out: string;
  raw?: boolean;
  heads?: number;
  masks?: (typeof MASKS)[number];
  maxShardSize?: number;
  force?: boolean;
  json?: boolean;
}

const MASKS = ["gaussian", "boxcar"] as const;
const SUMMARY = "turn a PyTorch checkpoint into safetensors, without running any of it";

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
A checkpoint with GBLR layers that the method's authors' trainer wrote, of
GPT-2, ViT or ResNet, becomes a model folder for every other verb. Any other
keeps its tensors as they are, in model.safetensors, and all else that it
holds in hyperparameters.json.
`.trim();

export function addImport(program: Command): void {
  verb(program, {
    name: "import",
    summary: SUMMARY,
    example: "gblr import last.ckpt --out models/vit-gblr\ngblr import pytorch_model.bin --out models/vit --json",
  })
    .summary(SUMMARY)
    .description(DESCRIPTION)
    .argument("<file>", "a .ckpt, .pth, .pt or .bin written by torch.save")
    .requiredOption("--out <folder>", "where model.safetensors and the rest go")
    .option("--raw", "keep tensors as they are, GBLR layers too")
    .option("--heads <count>", "attention heads, where the checkpoint does not tell", countFrom(1))
    .addOption(new Option("--masks <kind>", "of GBLR layers, where the checkpoint does not tell").choices(MASKS))
    .option("--max-shard-size <size>", "bytes in one file, e.g. 500MB (default: 5GB)", parseSize)
    .option("--force", "replace the model that is in the folder")
    .option("--json", "one JSON document on stdout")
    .action(importVerb);
}

async function importVerb(file: string, options: ImportVerbOptions): Promise<void> {
  const { out, maxShardSize, raw = false, force = false, json = false } = options;
  const palette = paletteFor(process.stdout, process.env);
  if (!raw && (await isReference(file))) {
    const { importReferenceWithProgress, printReferenceSummary } = await import("./import-reference.ts");
    const { heads, masks } = options;
    const gaussian = masks === undefined ? undefined : masks === "gaussian";
    const settings = {
      out,
      force,
      heads,
      gaussian,
      ...(maxShardSize !== undefined && { maxShardBytes: maxShardSize }),
    };
    const summary = await importReferenceWithProgress(file, settings);
    process.stdout.write(`${json ? JSON.stringify(summary, null, 2) : printReferenceSummary(summary, palette)}\n`);
    return;
  }
  expectNoModelOptions(file, options);
  const [existing] = force ? [] : await outputsIn(out);
  if (existing) throw new CommandFailed(`${out} has ${existing} already; pass --force to replace it`);
  const summary = await importWithProgress(file, { out, maxShardBytes: maxShardSize });
  const text = json ? JSON.stringify(summary, null, 2) : printSummary(summary, palette);
  process.stdout.write(`${text}\n`);
}

/** Only then is an engine loaded. */
async function isReference(file: string): Promise<boolean> {
  const { isReferenceCheckpoint } = await import("../models/reference/index.ts");
  return isReferenceCheckpoint(file);
}

function expectNoModelOptions(file: string, { raw, heads, masks }: ImportVerbOptions): void {
  const given = Object.entries({ heads, masks }).find(([, value]) => value !== undefined);
  if (!given) return;
  const why = raw ? "with --raw" : `for ${file}, which holds no GBLR layers of a known architecture`;
  throw new UsageError(`--${given[0]} has no meaning ${why}`);
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

function printSummary({ file, out, files, tensors, bytes, dtypes, tied }: ImportSummary, palette: Palette): string {
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
  return [title, ...lines, ...ties, `  ${palette.dim("written")} ${files.join(", ")}`].join("\n");
}

const UNITS: Record<string, number> = { "": 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9 };

function parseSize(text: string): number {
  const [, digits, unit = ""] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text) ?? [];
  const bytes = Number(digits) * (UNITS[unit.toLowerCase()] ?? Number.NaN);
  if (!(bytes >= 1)) throw new InvalidArgumentError("It must be a size such as 500MB or 5GB.");
  return Math.floor(bytes);
}
