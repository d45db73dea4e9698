// `bun bench/tokenizer.ts`: the speed of tokenizing English text, compared with @huggingface/tokenizers called row by
// row, whose ids ours must equal. Contestants alternate, so that other load on the machine affects all of them; a
// contestant with different ids stops the bench.

import { Buffer } from "node:buffer";
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

const load = os.loadavg()[0] as number;
const { rows, batches } = await readText();
const text = { rows: rows.length, bytes: rows.reduce((sum, row) => sum + Buffer.byteLength(row), 0) };
const files = await readTokenizerFiles(options.tokenizer);
const warm = openEncoder(options.tokenizer, files);
const plain = new Library(files.definition, files.config);
const pool = startPool({ tokenizer: options.tokenizer, workers: options.workers, encoder: warm });
const contestants: Record<string, Contestant> = {
  "plain library": () => timed(async () => sum(rows.map((row) => library(row)))),
  "first pass": firstPass,
  "later passes": () => timed(async () => sum(batches.map((batch) => encodeBatch(warm, batch).ids.length))),
  [`${options.workers} threads`]: throughPool,
};
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
  const fresh = openEncoder(options.tokenizer, files);
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
