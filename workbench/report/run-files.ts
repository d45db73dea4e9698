// Writes and reads the files of a run folder. Files are written atomically, except metrics.jsonl, to which the trainer
// appends lines. A folder can be read at any time, also during a run or after it was killed: a missing file is skipped,
// and a damaged file is reported as a problem instead of an error. results.json is derived from run.json and
// comparison.json and written whenever one of them changes; results-file.ts reads it.

import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { reason } from "../../hub/files/byte-source.ts";
import type { Metrics } from "../train/metrics.ts";
import { thisMachine } from "./machine.ts";
import { parseMetrics } from "./metrics-log.ts";
import { resultsOf, resultsSchema } from "./results.ts";
import {
  type Classification,
  type ComparisonRow,
  type ConvertedLayer,
  classificationSchema,
  comparisonSchema,
  conversionSchema,
  RunError,
  type RunRecord,
  runRecordSchema,
} from "./run-record.ts";

/** Names of the files in a run folder. */
export const RUN_FILES = {
  record: "run.json",
  metrics: "metrics.jsonl",
  comparison: "comparison.json",
  results: "results.json",
  conversion: "conversion.json",
  classification: "classification.json",
  model: "model",
  converted: "converted",
  picture: "structure.png",
  report: "report.html",
} as const;

/** The content of a run folder. */
export interface Run {
  folder: string;
  record?: RunRecord;
  /** in the order of steps; a step that was repeated after an interruption appears once */
  metrics: Metrics[];
  comparison?: ComparisonRow[];
  conversion?: ConvertedLayer[];
  classification?: Classification;
  /** time of the latest change to any of its files */
  touched?: Date;
  /** a sentence for each damaged file */
  problems: string[];
}

/** Fields that `startRun` sets. */
type Automatic = "format" | "status" | "error" | "started" | "updated" | "machine";
/** Facts about a run that the caller of `startRun` gives. */
export type RunFacts = Omit<RunRecord, Automatic>;

interface Clock {
  /** Default: the system's clock */
  now?: () => Date;
}

/** Creates the folder of a run. @throws RunError if it cannot be created */
export async function makeRunFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw new RunError(`cannot be created: ${reason(error)}`, { file: folder }, { cause: error });
  });
}

/**
 * Creates the folder and its run.json, with status `running`. A resumed run keeps its first start time.
 * @throws RunError if the folder or the file cannot be written
 */
export async function startRun(folder: string, facts: RunFacts, { now = systemClock }: Clock = {}): Promise<RunRecord> {
  await makeRunFolder(folder);
  const updated = now().toISOString();
  const before = await readRun(folder).catch(() => undefined);
  const started = before?.record?.started ?? updated;
  const record: RunRecord = { ...facts, format: 1, status: "running", started, updated, machine: thisMachine() };
  await write(join(folder, RUN_FILES.record), record, runRecordSchema);
  await writeResults(folder, record, before?.comparison);
  return record;
}

/**
 * Changes fields of run.json, such as the status, and its time of update.
 * @throws RunError if there is no valid run.json, or it cannot be written
 */
export async function updateRun(
  folder: string,
  changes: Partial<RunRecord>,
  { now = systemClock }: Clock = {},
): Promise<RunRecord> {
  const { record, comparison } = await readRun(folder);
  const file = join(folder, RUN_FILES.record);
  if (!record) throw new RunError("is missing or broken; a run starts with it", { file });
  const changed: RunRecord = { ...record, ...changes, updated: now().toISOString() };
  await write(file, changed, runRecordSchema);
  await writeResults(folder, changed, comparison);
  return changed;
}

/** Writes comparison.json, and results.json with it. @throws RunError if a number is not finite, or the file cannot be written */
export async function writeComparison(folder: string, rows: readonly ComparisonRow[]): Promise<void> {
  await write(join(folder, RUN_FILES.comparison), rows, comparisonSchema);
  const { record } = await readRun(folder);
  if (record) await writeResults(folder, record, rows);
}

/** Derives results.json. A run without a row has none. */
async function writeResults(
  folder: string,
  record: RunRecord,
  rows: readonly ComparisonRow[] | undefined,
): Promise<void> {
  if (rows && rows.length > 0) await write(join(folder, RUN_FILES.results), resultsOf(record, rows), resultsSchema);
}

/** Writes conversion.json. @throws RunError as `writeComparison` does */
export async function writeConversion(folder: string, layers: readonly ConvertedLayer[]): Promise<void> {
  await write(join(folder, RUN_FILES.conversion), layers, conversionSchema);
}

/** Writes classification.json. @throws RunError as `writeComparison` does */
export async function writeClassification(folder: string, classification: Classification): Promise<void> {
  await write(join(folder, RUN_FILES.classification), classification, classificationSchema);
}

/** Reads a run folder. @throws RunError if there is no such folder, or it has no file of a run */
export async function readRun(folder: string): Promise<Run> {
  const status = await stat(folder).catch(() => undefined);
  if (!status?.isDirectory()) throw new RunError("there is no such folder; give the folder of a run", { file: folder });
  const problems: string[] = [];
  const times: Date[] = [];
  const read = async (name: string): Promise<string | undefined> => {
    const file = join(folder, name);
    const text = await readFile(file, "utf8").catch((error: unknown) => {
      if ((error as { code?: unknown }).code !== "ENOENT") problems.push(`${name} cannot be read: ${reason(error)}.`);
      return undefined;
    });
    if (text !== undefined) times.push((await stat(file)).mtime);
    return text;
  };
  const readJson = async <T>(name: string, schema: z.ZodType<T>): Promise<T | undefined> => {
    const text = await read(name);
    if (text === undefined) return undefined;
    const { value, problem } = parseJson(text, schema);
    if (problem !== undefined) problems.push(`${name} is left out: ${problem}.`);
    return value;
  };
  const record = await readJson(RUN_FILES.record, runRecordSchema);
  const lines = parseMetrics((await read(RUN_FILES.metrics)) ?? "");
  if (lines.refused > 0) {
    const count = `${lines.refused} ${lines.refused === 1 ? "line" : "lines"}`;
    problems.push(`${count} of ${RUN_FILES.metrics} could not be understood and are left out.`);
  }
  const comparison = await readJson<ComparisonRow[]>(RUN_FILES.comparison, comparisonSchema);
  const conversion = await readJson(RUN_FILES.conversion, conversionSchema);
  const classification = await readJson(RUN_FILES.classification, classificationSchema);
  if (times.length === 0 && problems.length === 0) {
    const names = [RUN_FILES.record, RUN_FILES.metrics, RUN_FILES.comparison].join(", ");
    throw new RunError(`is not the folder of a run: it has none of ${names}`, { file: folder });
  }
  return {
    folder,
    ...(record && { record }),
    metrics: lines.metrics,
    ...(comparison && { comparison }),
    ...(conversion && { conversion }),
    ...(classification && { classification }),
    ...(times.length > 0 && { touched: new Date(Math.max(...times.map(Number))) }),
    problems,
  };
}

/**
 * Reads run.json alone.
 * @returns undefined if there is none; a problem, as a sentence, if it is damaged
 */
export async function readRunRecord(folder: string): Promise<{ record?: RunRecord; problem?: string } | undefined> {
  const text = await readFile(join(folder, RUN_FILES.record), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const { value, problem } = parseJson(text, runRecordSchema);
  return value ? { record: value } : { problem: `${RUN_FILES.record} is left out: ${problem}.` };
}

const systemClock = () => new Date();

async function write(file: string, value: unknown, schema: z.ZodType): Promise<void> {
  const text = JSON.stringify(value, numbersAsText, 2);
  // Checked against the schema for reading, which reports a number that is not finite by name before anything is
  // written.
  const { problem } = parseJson(text, schema);
  if (problem !== undefined) throw new RunError(`is not written: ${problem}`, { file });
  await writeFileAtomically(file, `${text}\n`).catch((error: unknown) => {
    throw new RunError(`cannot be written: ${reason(error)}`, { file }, { cause: error });
  });
}

/** Writes infinite numbers as text, because JSON has no Infinity, but σ = Infinity is a valid setting. */
const numbersAsText = (_: string, value: unknown): unknown =>
  typeof value === "number" && !Number.isFinite(value) ? String(value) : value;

function parseJson<T>(text: string, schema: z.ZodType<T>): { value?: T; problem?: string } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { problem: "it is not JSON" };
  }
  const result = schema.safeParse(json);
  if (result.success) return { value: result.data };
  const [issue] = result.error.issues;
  const place = issue?.path.length ? `${issue.path.join(".")}: ` : "";
  return { problem: `${place}${issue?.message.replace(/\s+/g, " ")}` };
}
