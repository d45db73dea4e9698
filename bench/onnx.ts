// `bun bench/onnx.ts`: the speed of GBLR layers over dense ones in ONNX files, which onnxruntime runs. A GPT-2 with random
// weights is exported dense, and with the spans that block searches found on SmolLM2 (layers/spans.ts). All files are open
// in one process and take turns.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { Command } from "commander";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { countFrom } from "../workbench/cli/shared/options.ts";
import { median } from "../workbench/engine/core/measure.ts";
import { openEngine } from "../workbench/engine/core/open.ts";
import { exportOnnx } from "../workbench/export/onnx/index.ts";
import { gpt2, type Model } from "../workbench/models/index.ts";
import { foundLayers } from "./layers/found-layers.ts";
import { readSpans } from "./layers/spans.ts";
import { progress, runPhase } from "./phases.ts";
import { randomModel } from "./random-weights.ts";

const SHARES = [0.4, 0.25];
const KINDS = ["compact", "compact-16", "stable-16"];
const SIZE = { model_type: "gpt2", n_embd: 768, n_head: 12, n_positions: 1024, vocab_size: 1000 };

interface Options {
  python: string;
  blocks: number;
  context: number;
  rounds: number;
  threads: number;
  json?: boolean;
}

interface Row {
  what: string;
  /** bytes of the file */
  bytes: number;
  /** seconds in which onnxruntime opens the file, constant folding included */
  load: number;
  /** seconds of the dense model over those of this one, the median of the rounds, by tokens of a pass */
  speed: Record<string, number>;
}

/** What bench/onnx/measure.py answers: for each file, and for each number of tokens the seconds of each round. */
interface Measured {
  version: string;
  files: { load: number; seconds: Record<string, number[]> }[];
}

const options = new Command("bun bench/onnx.ts")
  .description("the speed of GBLR layers over dense ones in ONNX files")
  .option("--python <path>", "a Python with onnxruntime", process.env.GBLR_PYTHON ?? "python3")
  .option("--blocks <count>", "of the model", countFrom(1), 4)
  .option("--context <tokens>", "of a pass; the other passes have one token", countFrom(2), 256)
  .option("--rounds <count>", "in which the files take turns", countFrom(1), 11)
  .option("--threads <count>", "CPU threads", countFrom(1), 1)
  .option("--json", "one JSON document on stdout")
  .addHelpText("after", "\nExample:\n  bun bench/onnx.ts --python peers/bin/python --threads 2")
  .parse()
  .opts<Options>();

await openEngine({ engine: "torch" });
const folder = mkdtempSync(path.join(tmpdir(), "gblr-onnx-"));
try {
  const { blocks, context, rounds, threads, python } = options;
  const variants = SHARES.flatMap((share) => KINDS.map((kind) => ({ what: `${kind}, ${100 * share} %`, kind, share })));
  const files = [await written("dense"), ...(await sequentially(variants, written))];
  const asked = { files: files.map(({ file }) => file), tokens: [context, 1], rounds, threads };
  progress("measuring");
  const script = path.join(import.meta.dirname, "onnx/measure.py");
  const { version, files: measured } = await runPhase<Measured>([python, script], asked);
  const rows = measured.map(({ load, seconds }, i): Row => {
    const over = (tokens: string) =>
      median((measured[0]?.seconds[tokens] ?? []).map((dense, round) => dense / (seconds[tokens]?.[round] as number)));
    const speed = Object.fromEntries(Object.keys(seconds).map((tokens) => [tokens, over(tokens)]));
    return { what: files[i]?.what as string, bytes: files[i]?.bytes as number, load, speed };
  });
  const report = {
    machine: inspectMachine(),
    onnxruntime: version,
    model: { ...SIZE, n_layer: blocks },
    options,
    rows,
  };
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : page(rows));
} finally {
  rmSync(folder, { recursive: true, force: true });
}

type Variant = "dense" | { what: string; kind: string; share: number };

async function written(variant: Variant): Promise<{ what: string; file: string; bytes: number }> {
  const what = variant === "dense" ? variant : variant.what;
  progress(`writing ${what}`);
  const json = { ...SIZE, n_layer: options.blocks };
  const model = randomModel(gpt2, json) as Model;
  if (variant !== "dense") foundLayers(model, { found: await readSpans(), ...variant });
  const file = path.join(folder, `${what.replace(/\W+/g, "-")}.onnx`);
  let bytes = 0;
  for await (const event of exportOnnx(model, file, { version: "bench" })) {
    if (event.kind === "written") bytes = event.bytes;
  }
  model.dispose();
  return { what, file, bytes };
}

async function sequentially<Item, Result>(items: readonly Item[], make: (item: Item) => Promise<Result>) {
  const made: Result[] = [];
  for (const item of items) made.push(await make(item));
  return made;
}

function page(rows: readonly Row[]): string {
  const tokens = [String(options.context), "1"];
  const cells = rows.map(({ what, bytes, load, speed }) => [
    ...[what, `${(bytes / 1e6).toFixed(1)} MB`, `${load.toFixed(2)} s`],
    ...tokens.map((count) => (speed[count] as number).toFixed(2)),
  ]);
  const heading = ["layers", "file", "load", ...tokens.map((count) => (count === "1" ? "1 token" : `${count} tokens`))];
  const lines = [heading, ["---", "--:", "--:", "--:", "--:"], ...cells].map((row) => `| ${row.join(" | ")} |`);
  return `${lines.join("\n")}\n`;
}
