// The scores in the results file of lm_eval.

import { z } from "zod";
import { parseJson } from "../../../hub/text/json.ts";
import { StageError } from "../stage.ts";

/** The value of a metric in a task, or in a group of tasks. */
export interface HarnessScore {
  /** name of the task */
  task: string;
  /** name that lm_eval shows; indented below the group of the task */
  alias: string;
  metric: string;
  /** how the answers of the model were filtered; `none` if they were not */
  filter: string;
  value: number;
  /** standard error, where lm_eval estimates one */
  stderr?: number;
  /** examples that precede each question */
  shots?: number;
  /** documents that were scored */
  samples?: number;
  /** version of the task */
  version?: string;
  higherIsBetter?: boolean;
}

const byTask = <Value extends z.ZodType>(value: Value) => z.record(z.string(), value).optional();

const RESULTS = z.object({
  results: z.record(z.string(), z.record(z.string(), z.unknown())),
  "n-shot": byTask(z.unknown()),
  "n-samples": byTask(z.object({ effective: z.number() })),
  versions: byTask(z.unknown()),
  higher_is_better: byTask(z.record(z.string(), z.unknown())),
});

type Results = z.infer<typeof RESULTS>;

/**
 * Reads the scores of all tasks and metrics, in the order of the file.
 * @param text content of `results_….json`
 * @throws StageError if it has another form, as of a version of lm_eval that is not known
 */
export function scoresIn(text: string): HarnessScore[] {
  const parsed = RESULTS.safeParse(parseJson(text));
  if (!parsed.success) {
    const where = parsed.error.issues[0]?.path.join(".");
    throw new StageError(`the results of lm_eval have an unknown form (at ${where}); install lm_eval 0.4`);
  }
  const results = parsed.data;
  return Object.entries(results.results).flatMap(([task, entries]) =>
    Object.entries(entries).flatMap(([key, value]) => scoreOf({ task, key, value, entries }, results)),
  );
}

interface Entry {
  task: string;
  /** metric and filter, e.g. `acc,none` */
  key: string;
  value: unknown;
  entries: Record<string, unknown>;
}

function scoreOf({ task, key, value, entries }: Entry, results: Results): HarnessScore[] {
  const [metric = "", filter] = key.split(",");
  const number = numberOf(value);
  if (filter === undefined || number === undefined || metric.endsWith("_stderr")) return [];
  const stderr = numberOf(entries[`${metric}_stderr,${filter}`]);
  const shots = numberOf(results["n-shot"]?.[task]);
  const samples = results["n-samples"]?.[task]?.effective;
  const version = results.versions?.[task];
  const better = results.higher_is_better?.[task]?.[metric];
  return [
    {
      ...{ task, alias: typeof entries.alias === "string" ? entries.alias : task },
      ...{ metric, filter, value: number },
      ...(stderr !== undefined && { stderr }),
      ...(shots !== undefined && { shots }),
      ...(samples !== undefined && { samples }),
      ...(version !== undefined && version !== "N/A" && { version: String(version) }),
      ...(typeof better === "boolean" && { higherIsBetter: better }),
    },
  ];
}

/** Without a standard error, lm_eval writes "N/A". */
const numberOf = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);
