// Runs a sweep: a recipe with each combination of values of some settings, one run after the other, each in its own
// process and folder. Finished runs are not repeated. If a run fails, the others are still run. Several processes can work
// on a sweep at the same time: each takes the next run that no other one is working on, and waits for the rest at its end.

import { spawn } from "node:child_process";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { stripVTControlCharacters } from "node:util";
import { lockFile } from "../../hub/cache/lock.ts";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { environmentAlone, type Place } from "../distributed/place.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import { makeRunFolder, readRun } from "../report/index.ts";
import { unclaimed } from "./run-folder.ts";
import { SettingsError } from "./stage.ts";

export interface SweepOptions {
  recipe: RecipeFile;
  points: readonly GridPoint[];
  /** flags for every run */
  flags: readonly string[];
  /** folder of the sweep; each run has a folder in it */
  folder: string;
  /** the place of this process among those that work on the sweep. Default: it works alone */
  place?: Place | undefined;
  signal: AbortSignal;
}

/** The run of one grid point. */
export interface SweepRun {
  point: GridPoint;
  folder: string;
  status: "finished" | "failed" | "interrupted";
  /** message of a failed run, one line */
  error?: string;
  /** rows of the comparison, the base model first */
  rows: readonly ComparisonRow[];
}

/** Progress of a sweep. */
export type SweepEvent =
  | { kind: "begun"; point: GridPoint; index: number; of: number; folder: string }
  /** another process works on this point, and no other one is left */
  | { kind: "waits"; point: GridPoint }
  /** the recipe has printed a line */
  | { kind: "said"; line: string }
  /** `before`: the run was finished by an earlier call */
  | { kind: "ended"; run: SweepRun; before: boolean }
  | { kind: "swept"; runs: readonly SweepRun[]; interrupted: boolean };

/**
 * Runs a sweep, or resumes it.
 * @throws SettingsError if the folder has a sweep of another recipe or with other flags; RunError if it cannot be
 * created
 */
export async function* sweep(options: SweepOptions): AsyncGenerator<SweepEvent> {
  const { recipe, points, flags, folder, signal } = options;
  const began = Date.now();
  await makeRunFolder(folder);
  await expectSameSweep(folder, { recipe: recipe.name, flags });
  const runs = new Map<GridPoint, SweepRun>();
  const later: GridPoint[] = [];
  for (const point of ownFirst(points, options.place)) {
    if (signal.aborted) break;
    const release = await lockOf(point, { folder });
    if (release) runs.set(point, yield* runLocked(point, { ...options, release, began }));
    else later.push(point);
  }
  for (const point of later) {
    if (signal.aborted) break;
    const release = (await lockOf(point, { folder })) ?? (yield* awaitedLock(point, { folder, signal }));
    if (release) runs.set(point, yield* runLocked(point, { ...options, release, began }));
  }
  yield { kind: "swept", runs: points.flatMap((point) => runs.get(point) ?? []), interrupted: signal.aborted };
}

/** The points in the order in which this process tries them. Those that it gets if they are dealt in turn come first. */
function ownFirst(points: readonly GridPoint[], place: Place | undefined): readonly GridPoint[] {
  if (!place) return points;
  const isOwn = (index: number) => index % place.size === place.rank;
  return [...points.filter((_, i) => isOwn(i)), ...points.filter((_, i) => !isOwn(i))];
}

type Release = () => Promise<void>;

/** Locks a point when the process that works on it has ended. @returns undefined if the signal was first */
async function* awaitedLock(
  point: GridPoint,
  { folder, signal }: { folder: string; signal: AbortSignal },
): AsyncGenerator<SweepEvent, Release | undefined> {
  yield { kind: "waits", point };
  return lockOf(point, { folder, waits: signal }).catch((error) => {
    if (signal.aborted) return undefined;
    throw error;
  });
}

/**
 * Locks a point, so that no other process works on it. Its run may go on for some time when the process that started it
 * was killed; it counts as working on the point.
 * @param options.waits waits until the other one has ended, or for this signal. Default: does not wait
 * @returns what releases it; undefined if another process works on it
 */
async function lockOf(
  { key }: GridPoint,
  { folder, waits }: { folder: string; waits?: AbortSignal },
): Promise<Release | undefined> {
  const taken = new Error("another process works on this point");
  const onWait = () => {
    throw taken;
  };
  const how = waits ? { signal: waits } : { onWait };
  let release: Release | undefined;
  try {
    release = await lockFile(join(folder, LOCKS, `${key}.lock`), how);
    await unclaimed(join(folder, key), how);
    return release;
  } catch (error) {
    await release?.();
    if (error === taken) return undefined;
    throw error;
  }
}

const LOCKS = ".locks";

interface LockedOptions extends SweepOptions {
  release: Release;
  /** milliseconds since 1970. What has failed in another process since then is not run again */
  began: number;
}

/** Runs a locked point, unless it has finished before. */
async function* runLocked(point: GridPoint, options: LockedOptions): AsyncGenerator<SweepEvent, SweepRun> {
  const { points, folder, began, release } = options;
  const place = join(folder, point.key);
  try {
    yield { kind: "begun", point, index: points.indexOf(point), of: points.length, folder: place };
    const rows = await finishedRows(place);
    const error = await failureOf(point, { folder, since: began });
    const known: SweepRun | undefined = rows
      ? { point, folder: place, status: "finished", rows }
      : error === undefined
        ? undefined
        : { point, folder: place, status: "failed", error, rows: [] };
    const run = known ?? (yield* runPoint(point, { ...options, folder: place }));
    if (run.error !== undefined) await writeFile(failureFile(point, folder), run.error);
    yield { kind: "ended", run, before: known !== undefined };
    return run;
  } finally {
    await release();
  }
}

const failureFile = ({ key }: GridPoint, folder: string): string => join(folder, LOCKS, `${key}.failed`);

/** Why a point has failed in another process, if it has since then. */
async function failureOf(
  point: GridPoint,
  { folder, since }: { folder: string; since: number },
): Promise<string | undefined> {
  const file = failureFile(point, folder);
  const found = await stat(file).catch(() => undefined);
  return found && found.mtimeMs >= since ? readFile(file, "utf8") : undefined;
}

async function* runPoint(
  point: GridPoint,
  { recipe, flags, folder, place, signal }: Omit<SweepOptions, "points">,
): AsyncGenerator<SweepEvent, SweepRun> {
  const all = [...flags, ...point.flags, `--run=${folder}`];
  const end = yield* saidOf(runChild(recipe.path, { flags: all, place, signal }));
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

/** Checks that a sweep is resumed with the same recipe and flags. Points may be added. */
async function expectSameSweep(folder: string, asked: { recipe: string; flags: readonly string[] }): Promise<void> {
  const file = join(folder, RECORD);
  const text = await readFile(file, "utf8").catch(() => undefined);
  const told = JSON.stringify({ format: 1, ...asked }, null, 2);
  if (text === undefined) return writeFileAtomically(file, `${told}\n`);
  if (text.trim() === told) return;
  throw new SettingsError(
    `${folder} has a sweep of another recipe or with other flags (see ${file}); give another --out`,
  );
}

/** A setting that varies in a sweep, and its values. */
export interface Varied {
  /** name as in flags, e.g. `learning-rate` */
  setting: string;
  values: readonly string[];
}

/** One combination of values. */
export interface GridPoint {
  /** values by setting */
  values: Readonly<Record<string, string>>;
  /** name of the folder, e.g. `budget-0.2+structure-gblr` */
  key: string;
  /** the values as flags */
  flags: readonly string[];
}

/**
 * All combinations of the values. The last setting changes fastest.
 * @throws SettingsError if a setting occurs twice
 */
export function gridOf(varied: readonly Varied[]): GridPoint[] {
  const names = varied.map(({ setting }) => setting);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new SettingsError(`--vary ${twice} is given twice; give all values in one --vary`);
  let points: Record<string, string>[] = [{}];
  for (const { setting, values } of varied) {
    points = points.flatMap((point) => values.map((value) => ({ ...point, [setting]: value })));
  }
  return points.map((values) => {
    const entries = Object.entries(values);
    return {
      values,
      key: entries.map(([setting, value]) => `${setting}-${value.replace(/[^\w.-]/g, "_")}`).join("+"),
      flags: entries.map(([setting, value]) => `--${setting}=${value}`),
    };
  });
}

/** A grid point as text: `budget 0.2, structure gblr`. */
export const pointText = ({ values }: Pick<GridPoint, "values">): string =>
  Object.entries(values)
    .map(([setting, value]) => `${setting} ${value}`)
    .join(", ");

/** A recipe by name and path of its file. */
export interface RecipeFile {
  name: string;
  path: string;
}

type ChildEnd = { kind: "finished" } | { kind: "interrupted" } | { kind: "failed"; error: string };

interface ChildOptions {
  flags: readonly string[];
  place: Place | undefined;
  /** stops the run so that it can be resumed */
  signal: AbortSignal;
}

/** Runs a recipe in a process and yields the lines it prints. @param path file of the recipe @returns how it ended */
async function* runChild(path: string, { flags, place, signal }: ChildOptions): AsyncGenerator<string, ChildEnd> {
  // The child has its own process group. Otherwise Ctrl-C on the terminal would reach it directly, and the signal sent
  // by `stop` would be its second one, which ends a recipe at once.
  const child = spawn(process.execPath, [...process.execArgv, path, ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
    env: environmentAlone(process.env, place),
    detached: true,
  });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-LONGEST);
  });
  const stop = () => child.kill("SIGINT");
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  const ended = new Promise<ChildEnd>((end) => {
    child.on("error", (error) => end({ kind: "failed", error: `could not be started: ${lastLine(error.message)}` }));
    child.on("close", (code, killed) => {
      if (code === 0) end({ kind: "finished" });
      else if (signal.aborted || code === INTERRUPTED) end({ kind: "interrupted" });
      else end({ kind: "failed", error: lastLine(errors) || (killed ? `killed by ${killed}` : `exit code ${code}`) });
    });
  });
  try {
    for await (const line of createInterface({ input: child.stdout })) if (line.trim()) yield line.trim();
    return await ended;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Number of characters of stderr that are kept. */
const LONGEST = 10_000;

/** The last line of stderr, where a recipe prints its error. */
const lastLine = (text: string): string =>
  stripVTControlCharacters(text.trim().split("\n").at(-1) ?? "")
    .replace(/\s+/g, " ")
    .trim();

/** Exit code of an interrupted recipe. */
const INTERRUPTED = 130;
