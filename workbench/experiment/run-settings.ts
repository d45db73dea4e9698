// Whether a run folder may be gone on with: only by the settings that it was begun with, but for those that change
// nothing of its numbers.

import { stat } from "node:fs/promises";
import { readRun } from "../report/index.ts";
import type { ExperimentSettings } from "./settings.ts";
import { SettingsError } from "./settings-error.ts";

/** Where it lies, what becomes of it, how often it is looked at. */
const FREE: readonly string[] = ["run", "fresh", "push", "private", "checkpointEvery", "compare"];

/** @throws SettingsError naming the settings that differ */
export async function expectSameSettings(folder: string, settings: ExperimentSettings): Promise<void> {
  if (!(await stat(folder).catch(() => undefined))) return;
  const run = await readRun(folder).catch(() => undefined);
  if (!run?.record) return;
  const [made, asked] = [run.record.settings, JSON.parse(JSON.stringify(settings)) as Record<string, unknown>];
  const names = [...new Set([...Object.keys(made), ...Object.keys(asked)])].filter((name) => !FREE.includes(name));
  const changed = names.filter((name) => JSON.stringify(made[name]) !== JSON.stringify(asked[name]));
  if (changed.length === 0) return;
  const told = changed.map((name) => `${name} ${shown(made[name])} → ${shown(asked[name])}`).join(", ");
  throw new SettingsError(
    `${folder} was begun with other settings: ${told}; pass --fresh to begin again, or another --run`,
  );
}

const shown = (value: unknown): string => (value === undefined ? "unset" : JSON.stringify(value));
