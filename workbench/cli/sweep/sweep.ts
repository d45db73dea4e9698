// Runs a recipe at every point of a grid, one after the other, each in its own folder. A point that is finished is not run
// again; one that fails leaves the others be. Tells what happens as events; the verb shows them.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { type ComparisonRow, makeRunFolder, readRun } from "../../report/index.ts";
import { UsageError } from "../program.ts";
import type { GridPoint } from "./grid.ts";
import type { RecipeFile } from "./recipe-file.ts";
import { runChild } from "./run-child.ts";

export interface SweepOptions {
  recipe: RecipeFile;
  points: readonly GridPoint[];
  /** of all runs */
  flags: readonly string[];
  folder: string;
  signal: AbortSignal;
}

/** A point and what came of it; rows are those of its comparison, the dense model's first. */
export interface SweepRun {
  point: GridPoint;
  folder: string;
  status: "finished" | "failed" | "interrupted";
  /** one line, of a failed run */
  error?: string;
  rows: readonly ComparisonRow[];
}

export type SweepEvent =
  | { kind: "begun"; point: GridPoint; index: number; of: number; folder: string }
  /** how far the run is, a line as the recipe tells it */
  | { kind: "said"; line: string }
  /** `before`: by an earlier sweep */
  | { kind: "ended"; run: SweepRun; before: boolean }
  | { kind: "swept"; runs: readonly SweepRun[]; interrupted: boolean };

/** @throws UsageError when the folder has a sweep of another recipe, or with other flags; RunError when it cannot be made */
export async function* sweep({ recipe, points, flags, folder, signal }: SweepOptions): AsyncGenerator<SweepEvent> {
  await makeRunFolder(folder);
  await expectSameSweep(folder, { recipe: recipe.name, flags });
  const runs: SweepRun[] = [];
  for (const [index, point] of points.entries()) {
    if (signal.aborted) break;
    const place = join(folder, point.key);
    yield { kind: "begun", point, index, of: points.length, folder: place };
    const done = await finishedRows(place);
    const run: SweepRun = done
      ? { point, folder: place, status: "finished", rows: done }
      : yield* runPoint(point, { recipe, flags, folder: place, signal });
    runs.push(run);
    yield { kind: "ended", run, before: done !== undefined };
  }
  yield { kind: "swept", runs, interrupted: signal.aborted };
}

async function* runPoint(
  point: GridPoint,
  { recipe, flags, folder, signal }: Omit<SweepOptions, "points">,
): AsyncGenerator<SweepEvent, SweepRun> {
  const end = yield* saidOf(runChild(recipe.path, { flags: [...flags, ...point.flags, `--run=${folder}`], signal }));
  if (end.kind === "failed") return { point, folder, status: "failed", error: end.error, rows: [] };
  if (end.kind === "interrupted") return { point, folder, status: "interrupted", rows: [] };
  const rows = await finishedRows(folder);
  if (rows) return { point, folder, status: "finished", rows };
  return { point, folder, status: "failed", error: `${folder} has no finished run`, rows: [] };
}

async function* saidOf<End>(lines: AsyncGenerator<string, End>): AsyncGenerator<SweepEvent, End> {
  for (;;) {
    const { value, done } = await lines.next();
    if (done) return value;
    yield { kind: "said", line: value };
  }
}

async function finishedRows(folder: string): Promise<readonly ComparisonRow[] | undefined> {
  const run = await readRun(folder).catch(() => undefined);
  return run?.record?.status === "finished" ? run.comparison : undefined;
}

const RECORD = "sweep.json";

/** Points may be added; what all of them share must stay. */
async function expectSameSweep(folder: string, asked: { recipe: string; flags: readonly string[] }): Promise<void> {
  const file = join(folder, RECORD);
  const text = await readFile(file, "utf8").catch(() => undefined);
  const told = JSON.stringify({ format: 1, ...asked }, null, 2);
  if (text === undefined) return writeFileAtomically(file, `${told}\n`);
  if (text.trim() === told) return;
  throw new UsageError(`${folder} has a sweep of another recipe or with other flags, see ${file}; give another --out`);
}
