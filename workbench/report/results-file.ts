// Writes results.json where there is no run folder, and reads it from a file or from a folder. An incomplete file, or one
// of a newer version, is an error of one line. A run folder of an earlier version has no results.json; its results are
// derived from its other files.

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { reason } from "../../hub/files/byte-source.ts";
import { isJsonObject } from "../../hub/text/json.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import { thisMachine } from "./machine.ts";
import { type Results, resultsOf, resultsSchema } from "./results.ts";
import { RUN_FILES, type RunFacts, readRun } from "./run-files.ts";
import { RunError } from "./run-record.ts";

/** Results, and the file from which they were read. */
export interface ReadResults {
  file: string;
  results: Results;
}

/** The results of work that has no run folder and has just ended, such as a conversion or an evaluation. */
export function finishedResults(facts: RunFacts, rows: readonly ComparisonRow[]): Results {
  const now = new Date().toISOString();
  const times = { started: now, updated: now };
  return resultsOf({ ...facts, ...times, format: 1, status: "finished", machine: thisMachine() }, rows);
}

/**
 * Writes results.json atomically.
 * @throws RunError if a number is not finite, or the file cannot be written
 */
export async function writeResultsFile(file: string, results: Results): Promise<void> {
  const { value, problem } = parsed(JSON.stringify(results));
  if (!value) throw new RunError(`is not written: ${problem}`, { file });
  await writeFileAtomically(file, `${JSON.stringify(results, null, 2)}\n`).catch((error: unknown) => {
    throw new RunError(`cannot be written: ${reason(error)}`, { file }, { cause: error });
  });
}

/**
 * Reads results.json.
 * @param path the file, or a folder with it: of a run, of a sweep, or of a converted model
 * @throws RunError if there is none, it is incomplete, or a newer version of the program wrote it
 */
export async function readResults(path: string): Promise<ReadResults> {
  const status = await stat(path).catch(() => undefined);
  if (!status)
    throw new RunError("there is no such file or folder; give results.json or the folder of a run", { file: path });
  const file = status.isDirectory() ? join(path, RUN_FILES.results) : path;
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    if ((error as { code?: unknown }).code === "ENOENT") return undefined;
    throw new RunError(`cannot be read: ${reason(error)}`, { file }, { cause: error });
  });
  if (text === undefined) return { file: path, results: await resultsOfRun(path) };
  const { value, problem } = parsed(text);
  if (!value) throw new RunError(`cannot be read as results: ${problem}`, { file });
  return { file, results: value };
}

/** The results of a run folder that has no results.json. */
async function resultsOfRun(folder: string): Promise<Results> {
  const run = await readRun(folder).catch((error: unknown) => {
    if (!(error instanceof RunError)) throw error;
    throw new RunError(`has no ${RUN_FILES.results} and is not the folder of a run`, { file: folder });
  });
  const { record, comparison, problems } = run;
  if (record && comparison && comparison.length > 0) return resultsOf(record, comparison);
  const [problem = "no model has been measured yet"] = problems;
  throw new RunError(`has no results: ${problem.replace(/\.$/, "")}`, { file: folder });
}

function parsed(text: string): { value?: Results; problem?: string } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { problem: "it is not whole JSON; give a file that gblr wrote" };
  }
  if (!isJsonObject(json)) return { problem: "it is not an object with rows; an earlier version wrote it" };
  const result = resultsSchema.safeParse(json);
  if (result.success) return { value: result.data };
  // In a newer version other fields may differ too; the message is about the version.
  const { issues } = result.error;
  const issue = issues.find(({ path }) => path[0] === "format") ?? issues[0];
  const place = issue?.path.length ? `${issue.path.join(".")}: ` : "";
  return { problem: `${place}${issue?.message.replace(/\s+/g, " ")}` };
}
