// Runs a recipe at every point of a grid, one after the other, each in its own folder. A point that is finished is not run
// again; one that fails leaves the others be. Tells what happens as events; the verb shows them.

import { spawn } from "node:child_process";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { EXIT, oneLine, UsageError } from "../cli/shared/program.ts";
import { flagOf } from "../cli/shared/settings.ts";
import { type ComparisonRow, makeRunFolder, readRun } from "../report/index.ts";

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

export interface Varied {
  /** as flags have it, e.g. `learning-rate` */
  setting: string;
  values: readonly string[];
}

export interface GridPoint {
  /** by setting */
  values: Readonly<Record<string, string>>;
  /** of the folder, e.g. `budget-0.2+structure-gblr` */
  key: string;
  /** of the command line */
  flags: readonly string[];
}

/** @param text `budget=0.125,0.2` @throws UsageError when it is not such a thing */
export function parseVaried(text: string): Varied {
  const at = text.indexOf("=");
  const setting = flagOf(text.slice(0, Math.max(0, at)).trim().replace(/^--/, "")).slice(2);
  const values = text
    .slice(at + 1)
    .split(",")
    .map((value) => value.trim());
  if (at < 1 || setting === "" || values.some((value) => value === "")) {
    throw new UsageError(`--vary ${text}: give a setting and its values, e.g. --vary budget=0.125,0.2`);
  }
  const twice = values.find((value, i) => values.indexOf(value) !== i);
  if (twice !== undefined) throw new UsageError(`--vary ${text}: ${twice} is there twice`);
  if (setting === "run") throw new UsageError("--vary run: each run of a sweep has a folder of its own below --out");
  return { setting, values };
}

/** The last setting changes fastest. @throws UsageError when a setting is varied twice */
export function gridOf(varied: readonly Varied[]): GridPoint[] {
  const names = varied.map(({ setting }) => setting);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`--vary ${twice} is there twice; give all its values at once`);
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

/** `budget 0.2, structure gblr` */
export const pointText = ({ values }: Pick<GridPoint, "values">): string =>
  Object.entries(values)
    .map(([setting, value]) => `${setting} ${value}`)
    .join(", ");

const RECIPES = fileURLToPath(new URL("../../../recipes/", import.meta.url));

export interface RecipeFile {
  name: string;
  path: string;
}

/** @throws UsageError, with the names that there are */
export async function recipeFile(text: string): Promise<RecipeFile> {
  const name = basename(text).replace(/\.ts$/, "");
  const path = name === text ? resolve(RECIPES, `${name}.ts`) : resolve(text);
  if ((await stat(path).catch(() => undefined))?.isFile()) return { name, path };
  const files = (await readdir(RECIPES)).filter((file) => file.endsWith(".ts"));
  const known = files.map((file) => file.slice(0, -3)).sort();
  throw new UsageError(`there is no recipe "${text}": there is ${known.join(", ")}, or give the path of a file`);
}

export type ChildEnd = { kind: "finished" } | { kind: "interrupted" } | { kind: "failed"; error: string };

export interface ChildOptions {
  flags: readonly string[];
  /** ends it where it can be gone on with */
  signal: AbortSignal;
}

/** Each line that it says of how far it is, then how it ended. @param path of a recipe */
export async function* runChild(path: string, { flags, signal }: ChildOptions): AsyncGenerator<string, ChildEnd> {
  // In a group of its own: the terminal's Ctrl-C would reach it a second time, which ends it at once.
  const child = spawn(process.execPath, [...process.execArgv, path, ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let told = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    told = (told + text).slice(-MOST_TOLD);
  });
  const stop = () => child.kill("SIGINT");
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  const ended = new Promise<ChildEnd>((end) => {
    child.on("error", (error) => end({ kind: "failed", error: `could not be started: ${oneLine(error.message)}` }));
    child.on("close", (code, killed) => {
      if (code === EXIT.ok) end({ kind: "finished" });
      else if (signal.aborted || code === EXIT.interrupted) end({ kind: "interrupted" });
      else end({ kind: "failed", error: lastLine(told) || (killed ? `killed by ${killed}` : `exit code ${code}`) });
    });
  });
  try {
    for await (const line of createInterface({ input: child.stdout })) if (line.trim()) yield line.trim();
    return await ended;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Characters of what it says on stderr. */
const MOST_TOLD = 10_000;

/** Recipes end with one line that says what was wrong. */
const lastLine = (text: string): string => oneLine(text.trim().split("\n").at(-1) ?? "");
