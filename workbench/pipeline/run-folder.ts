// The run folder of an experiment: its lock, the check of its settings, and its table of results. Only one process at a
// time can work in it. A run must be resumed with the settings with which it was started, except settings that do not
// change results.

import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import { type LockOptions, lockFile } from "../../hub/cache/lock.ts";
import { reason } from "../../hub/files/byte-source.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import { makeRunFolder, RunError, readRun, writeComparison } from "../report/index.ts";
import { type ExperimentSettings, withPresentNames } from "./settings.ts";
import { type PipelineEvent, SettingsError } from "./stage.ts";
import type { Variant } from "./variants.ts";

/** Settings that may differ when a run is resumed. */
const FREE: readonly string[] = [
  "run",
  "fresh",
  "push",
  "private",
  "checkpointEvery",
  "shardOptimizer",
  "compare",
  "fineTune",
  "keepModels",
  "tensorboard",
];

/**
 * Checks that a run folder can be resumed with these settings.
 * @throws SettingsError if settings differ, with their names, or if the folder has other files than those of a run
 */
export async function expectSameSettings(
  folder: string,
  settings: ExperimentSettings,
  schema: z.ZodObject,
): Promise<void> {
  const files = await readdir(folder).catch(() => []);
  if (files.every((file) => file === LOCK)) return;
  const run = await readRun(folder).catch(() => undefined);
  if (!run?.record) throw new SettingsError(`${folder} has files that do not belong to a run; give another --run`);
  if (settings.fresh) return;
  // A run of an earlier version lacks the settings that came later, and did what their defaults do.
  const made = { ...defaultsOf(schema), ...withPresentNames(schema, run.record.settings) };
  const asked = JSON.parse(JSON.stringify(settings)) as Record<string, unknown>;
  const names = [...new Set([...Object.keys(made), ...Object.keys(asked)])].filter((name) => !FREE.includes(name));
  const changed = names.filter((name) => JSON.stringify(made[name]) !== JSON.stringify(asked[name]));
  if (changed.length === 0) return;
  const told = changed.map((name) => `${name} ${shown(made[name])} → ${shown(asked[name])}`).join(", ");
  throw new SettingsError(
    `${folder} was started with other settings: ${told}; pass --fresh to start over, or give another --run`,
  );
}

const defaultsOf = ({ shape }: z.ZodObject): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(shape).map(([name, setting]) => [name, (setting as z.ZodType).safeParse(undefined).data]),
  );

/** Whether the folder has the record of a run. */
export async function isRun(folder: string): Promise<boolean> {
  return (await readRun(folder).catch(() => undefined))?.record !== undefined;
}

const LOCK = ".lock";

/**
 * Creates and locks a run folder.
 * @returns a function that unlocks it
 * @throws SettingsError if another process has locked it; RunError if it cannot be written
 */
export async function claim(folder: string): Promise<() => Promise<void>> {
  await makeRunFolder(folder);
  const onWait = () => {
    throw new SettingsError(`${folder} is in use by another process; wait for it, or give another --run`);
  };
  return lockFile(join(folder, LOCK), { onWait }).catch((error: unknown) => {
    if (error instanceof SettingsError) throw error;
    throw new RunError(
      `cannot be written to: ${reason(error)}; give another --run`,
      { file: folder },
      { cause: error },
    );
  });
}

/** Waits until no process works in a run folder. @throws what `onWait` throws; the reason of the signal */
export async function unclaimed(folder: string, options: LockOptions): Promise<void> {
  const file = join(folder, LOCK);
  const isThere = await stat(file).catch(() => undefined);
  if (!isThere) return;
  const unlock = await lockFile(file, options);
  await unlock();
}

/** Deletes the files of an earlier run from a locked folder. */
export async function clear(folder: string): Promise<void> {
  const files = (await readdir(folder)).filter((file) => file !== LOCK);
  for (const file of files) await rm(join(folder, file), { recursive: true });
}

const shown = (value: unknown): string => (value === undefined ? "unset" : JSON.stringify(value));

type RowIdentity = Pick<ComparisonRow, "name" | "variant">;

/** Whether a row is that of a variant. Titles do not suffice: they leave out seeds, and depend on the other variants. */
export const isRowOf = (row: RowIdentity, { name, variant }: RowIdentity): boolean =>
  row.variant === undefined || variant === undefined ? row.name === name : row.variant === variant;

/** The rows of the comparison. Each is written to comparison.json as soon as it is added. */
export class RunTable {
  readonly folder: string;
  rows: readonly ComparisonRow[];

  private constructor(folder: string, rows: readonly ComparisonRow[]) {
    this.folder = folder;
    this.rows = rows;
  }

  /**
   * Opens the table of a run. Rows of an earlier process get the titles that their variants have now.
   * @param variants of the run
   */
  static async open(folder: string, variants: readonly Pick<Variant, "key" | "title">[]): Promise<RunTable> {
    const { comparison = [] } = await readRun(folder);
    const titles = new Map(variants.map(({ key, title }) => [key, title]));
    const rows = comparison.map((row) => ({ ...row, name: titles.get(row.variant ?? "") ?? row.name }));
    const isRenamed = rows.some(({ name }, i) => name !== comparison[i]?.name);
    if (isRenamed) await writeComparison(folder, rows);
    return new RunTable(folder, rows);
  }

  /** The row of a variant, or by its name the row of the base model, or of a run of an earlier version. */
  find(of: RowIdentity, stage: ComparisonRow["stage"]): ComparisonRow | undefined {
    return this.rows.find((row) => row.stage === stage && isRowOf(row, of));
  }

  /** Adds a row, or replaces the one of the same variant and stage. */
  async *add(row: ComparisonRow): AsyncGenerator<PipelineEvent, ComparisonRow> {
    const others = this.rows.filter((other) => other.stage !== row.stage || !isRowOf(other, row));
    this.rows = [...others, row];
    await writeComparison(this.folder, this.rows);
    yield { kind: "row", row, rows: this.rows };
    return row;
  }
}
