// `gblr import`: a PyTorch checkpoint made into a model folder, without running any of it. The work is in hub/checkpoint;
// here are the options, the progress and the table.

import process from "node:process";
import { type Command, InvalidArgumentError } from "commander";
import { type ImportSummary, importCheckpoint, outputsIn } from "../../hub/checkpoint/index.ts";
import { CommandFailed, verb } from "./program.ts";
import { progressLine, throttled } from "./progress.ts";
import { type Cell, formatBytes, type Palette, paletteFor, table } from "./terminal.ts";

interface ImportVerbOptions {
  out: string;
  maxShardSize?: number;
  force?: boolean;
  json?: boolean;
}

export function addImport(program: Command): void {
  verb(program, {
    name: "import",
    summary: "turn a PyTorch checkpoint into safetensors, without running any of it",
    example: "gblr import last.ckpt --out models/gpt2\ngblr import pytorch_model.bin --out models/vit --json",
  })
    .argument("<file>", "a .ckpt, .pth, .pt or .bin written by torch.save")
    .requiredOption("--out <folder>", "where model.safetensors and hyperparameters.json go")
    .option("--max-shard-size <size>", "bytes in one file, e.g. 500MB (default: 5GB)", parseSize)
    .option("--force", "replace the model that is in the folder")
    .option("--json", "one JSON document on stdout")
    .action(importVerb);
}

async function importVerb(file: string, options: ImportVerbOptions): Promise<void> {
  const { out, maxShardSize, force = false, json = false } = options;
  const [existing] = force ? [] : await outputsIn(out);
  if (existing) throw new CommandFailed(`${out} has ${existing} already; pass --force to replace it`);
  const summary = await importWithProgress(file, { out, maxShardBytes: maxShardSize });
  const text = json ? JSON.stringify(summary, null, 2) : printSummary(summary, paletteFor(process.stdout, process.env));
  process.stdout.write(`${text}\n`);
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
