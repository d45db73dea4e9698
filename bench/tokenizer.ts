// `bun bench/tokenizer.ts`: the speed of tokenizing English text, compared with @huggingface/tokenizers called row by
// row and, where a Python has it, with PyPI's tokenizers on one thread. Contestants alternate, so that other load on the
// machine affects all of them; a contestant with another number of ids stops the bench.

import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { Command } from "commander";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { threeDigits } from "../workbench/cli/shared/terminal.ts";
import { rowsOf } from "../workbench/data/dataset/rows.ts";
import { splitFilesOf } from "../workbench/data/index.ts";
import { readTokenizerFiles } from "../workbench/data/tokenizer/definition.ts";
import { openEncoder } from "../workbench/data/tokenizer/encoder.ts";
import { batched, encodeBatch, type RowBatch, startPool } from "../workbench/data/tokens/tokenize.ts";

interface Options {
  dataset: string;
  config?: string;
  split: string;
  column: string;
  tokenizer: string;
  rounds: number;
  workers: number;
  splitting?: string;
  python?: string;
  json?: boolean;
  out?: string;
}

const options = new Command("bun bench/tokenizer.ts")
  .description("times tokenizing a text data set against the plain library")
  .requiredOption("--dataset <folder>", "a text data set laid out as on the Hub")
  .requiredOption("--tokenizer <folder>", "with tokenizer.json")
  .option("--config <name>", "of the data set")
  .option("--split <name>", "of the data set", "test")
  .option("--column <name>", "of the text", "text")
  .option("--rounds <count>", "samples of each contestant", Number, 9)
  .option("--workers <count>", "threads of the last contestant", Number, os.availableParallelism())
  .option("--splitting <name>", "split text as another family does: llama3, qwen2 or smollm2")
  .option("--python <path>", "a Python with tokenizers", process.env.GBLR_PYTHON)
  .option("--json", "one JSON document on stdout")
  .option("--out <file>", "also write the page")
  .addHelpText("after", "\nExample:\n  bun bench/tokenizer.ts --dataset data/wikitext --tokenizer models/gpt2")
  .parse()
  .opts<Options>();

interface Pass {
  /** by the clock */
  seconds: number;
  /** CPU time of all cores together, which other load on the machine does not change */
  cpuSeconds: number;
  ids: number;
}

/** One pass over the text. */
type Contestant = () => Promise<Pass>;

/** The text for threads is this many times that of the data set, because one pass would end before they are warm. */
const REPEATS = 16;

/** One pass of PyPI's tokenizers on one thread, in a process of its own; opening the tokenizer is not counted. */
const PYTHON = `
import json, sys, time
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
rows = json.load(open(sys.argv[2]))
wall, cpu = time.perf_counter(), time.process_time()
ids = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(rows, add_special_tokens=False))
print(json.dumps({"seconds": time.perf_counter() - wall, "cpuSeconds": time.process_time() - cpu, "ids": ids}))
`;

const load = os.loadavg()[0] as number;
const { rows, batches } = await readText();
const text = { rows: rows.length, bytes: rows.reduce((sum, row) => sum + Buffer.byteLength(row), 0) };
const scratch = mkdtempSync(path.join(os.tmpdir(), "gblr-bench-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
const tokenizer = await tokenizerFolder();
const files = await readTokenizerFiles(tokenizer);
const warm = openEncoder(tokenizer, files);
const plain = new Library(files.definition, files.config);
const pool = startPool({ tokenizer, workers: options.workers, encoder: warm });
const contestants: Record<string, Contestant> = {
  "plain library": () => timed(async () => sum(rows.map((row) => library(row)))),
  "first pass": firstPass,
  "later passes": () => timed(async () => sum(batches.map((batch) => encodeBatch(warm, batch).ids.length))),
  [`${options.workers} threads`]: throughPool,
};
if (options.python) contestants["PyPI's tokenizers"] = inPython(options.python);
const samples = await takeTurns();
await pool.close();
const report = {
  date: new Date().toISOString(),
  machine: inspectMachine(),
  text,
  rounds: options.rounds,
  /** the machine's load when the bench began */
  load,
  contestants: Object.fromEntries(Object.keys(contestants).map((name) => [name, summary(name)])),
};
process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : page()}\n`);
if (options.out !== undefined) await writeFile(options.out, `${page()}\n`);

/** The tokenizer's folder, or a copy that splits text as another family does. */
async function tokenizerFolder(): Promise<string> {
  if (options.splitting === undefined) return options.tokenizer;
  const { definition } = await readTokenizerFiles(options.tokenizer);
  const cuts: Record<string, object> = {
    llama3: splitFirst(
      { type: "Split", pattern: { Regex: words("{1,3}") }, behavior: "Isolated", invert: false },
      false,
    ),
    qwen2: splitFirst({ type: "Split", pattern: { Regex: words("") }, behavior: "Isolated", invert: false }, false),
    smollm2: splitFirst({ type: "Digits", individual_digits: true }, true),
  };
  const pre_tokenizer = cuts[options.splitting];
  if (!pre_tokenizer) throw new Error(`--splitting ${options.splitting}: expected ${Object.keys(cuts).join(", ")}`);
  const normalizer = options.splitting === "qwen2" ? { type: "NFC" } : null;
  writeFileSync(path.join(scratch, "tokenizer.json"), JSON.stringify({ ...definition, normalizer, pre_tokenizer }));
  return scratch;
}

function splitFirst(first: object, use_regex: boolean): object {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex };
  return { type: "Sequence", pretokenizers: [first, byteLevel] };
}

/** The expression of Llama 3 and Qwen. @param digits in one piece, as a quantifier */
function words(digits: string): string {
  return `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
}

function inPython(python: string): Contestant {
  const texts = path.join(scratch, "rows.json");
  writeFileSync(texts, JSON.stringify(rows));
  return async () => {
    const { status, stdout, stderr } = spawnSync(
      python,
      ["-c", PYTHON, path.join(tokenizer, "tokenizer.json"), texts],
      { encoding: "utf8", env: { ...process.env, TOKENIZERS_PARALLELISM: "false" } },
    );
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as Pass;
  };
}

async function readText(): Promise<{ rows: string[]; batches: RowBatch[] }> {
  const { dataset, config, split, column } = options;
  const found = await splitFilesOf(dataset, { config, split });
  const rows: string[] = [];
  for (const file of found.files) {
    for await (const { texts } of rowsOf(path.join(dataset, file), column)) rows.push(...texts);
  }
  async function* source() {
    yield { texts: rows, fraction: 1 };
  }
  return { rows, batches: await Array.fromAsync(batched(source())) };
}

function library(row: string): number {
  return plain.encode(row, { add_special_tokens: false }).ids.length;
}

/** A tokenizer with empty caches. The time to open it is not counted, the time to fill its caches is. */
async function firstPass(): Promise<Pass> {
  const fresh = openEncoder(tokenizer, files);
  return timed(async () => sum(batches.map((batch) => encodeBatch(fresh, batch).ids.length)));
}

async function throughPool(): Promise<Pass> {
  const { seconds, cpuSeconds, ids } = await timed(async () => {
    const many = Array.from({ length: REPEATS }, () => batches).flat();
    return sum((await Promise.all(many.map((batch) => pool.encode(batch)))).map((part) => part.ids.length));
  });
  return { seconds: seconds / REPEATS, cpuSeconds: cpuSeconds / REPEATS, ids: ids / REPEATS };
}

async function timed(pass: () => Promise<number>): Promise<Pass> {
  const [start, before] = [performance.now(), process.cpuUsage()];
  const ids = await pass();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(before);
  return { seconds, cpuSeconds: (user + system) / 1e6, ids };
}

async function takeTurns(): Promise<Record<string, Pass[]>> {
  const passes: Record<string, Pass[]> = Object.fromEntries(Object.keys(contestants).map((name) => [name, []]));
  const counts = new Map<string, number>();
  // The first round is the warm-up.
  for (let round = -1; round < options.rounds; round++) {
    for (const [name, run] of Object.entries(contestants)) {
      const took = await run();
      counts.set(name, took.ids);
      if (round >= 0) passes[name]?.push(took);
    }
  }
  // The plain library splits some texts differently from PyPI's tokenizers, whose ids are the reference.
  if (options.python) counts.delete("plain library");
  if (new Set(counts.values()).size !== 1) {
    throw new Error(`the contestants disagree on the number of ids: ${JSON.stringify(Object.fromEntries(counts))}`);
  }
  return passes;
}

/** Median rates, and the median over the rounds of the speed-up over the library in the same round. */
function summary(name: string) {
  const own = samples[name] as Pass[];
  const peer = samples["plain library"] as Pass[];
  return {
    megabytesPerSecond: text.bytes / 1e6 / median(own.map(({ seconds }) => seconds)),
    megabytesPerCoreSecond: text.bytes / 1e6 / median(own.map(({ cpuSeconds }) => cpuSeconds)),
    timesTheLibrary: median(own.map(({ seconds }, round) => (peer[round] as Pass).seconds / seconds)),
  };
}

function page(): string {
  const { machine, date, rounds } = report;
  const lines = Object.entries(report.contestants).map(
    ([name, { megabytesPerSecond, megabytesPerCoreSecond, timesTheLibrary }]) =>
      `| ${name} | ${threeDigits(megabytesPerSecond)} MB/s | ${threeDigits(megabytesPerCoreSecond)} MB | ${threeDigits(timesTheLibrary)} |`,
  );
  return [
    `# Tokenizer bench on ${machine.cpu}, ${machine.cores} cores`,
    "",
    `${date.slice(0, 10)}. ${machine.runtime.name} ${machine.runtime.version}, ${machine.kernel}, ${machine.architecture}. Load ${load.toFixed(1)} before it began.`,
    `Splitting: ${options.splitting ?? "the tokenizer's own"}. Tokenizer: ${path.basename(options.tokenizer)}.`,
    `${text.rows} rows, ${threeDigits(text.bytes / 1e6)} MB of text. Medians of ${rounds} interleaved samples; the threads tokenize the text ${REPEATS} times over.`,
    "",
    "| contestant | rate | for a second of one core | times the plain library |",
    "| --- | ---: | ---: | ---: |",
    ...lines,
  ].join("\n");
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
