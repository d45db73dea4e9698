// The parquet files of a training split that is read while the model trains, by range requests if it is on the Hub. For
// data larger than the disk.

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { HubAccess, RepoName } from "../../../hub/access/repository.ts";
import { openFile } from "../../../hub/files/byte-source.ts";
import { filesOfCommit } from "../../../hub/pull/repo-files.ts";
import {
  DataError,
  expectRows,
  holdOutLast,
  type LaneSizes,
  pathsIn,
  type StreamFile,
  type StreamShare,
  splitFiles,
} from "../../data/index.ts";
import type { Source } from "../fetch.ts";
import type { ExperimentSettings } from "../settings.ts";
import { type ExperimentContext, type PipelineEvent, SettingsError } from "../stage.ts";

/** What a stream needs of the context of an experiment. */
export type StreamContext = Pick<ExperimentContext, "access" | "signal" | "ranks">;

/** The files to train on. */
export interface StreamedFiles {
  config: string;
  split: string;
  /** content of the README */
  readme: string | undefined;
  /** what is trained on: all, or all but what is held out */
  rest: StreamShare[];
  /** the last row group, if the split is one to evaluate on too */
  held: StreamShare | undefined;
  /** ends reads; undefined with several processes, which stop after a step that all have made, so each needs its data */
  signal: AbortSignal | undefined;
}

/**
 * Checks the settings of all streams.
 * @param items what is held out, e.g. `windows`
 * @throws SettingsError for those that a stream does not have
 */
export function checkStream(settings: ExperimentSettings, items: string): void {
  const { trainLimit, trainSplit, limit } = settings;
  if (trainLimit !== undefined) {
    throw new SettingsError("--train-limit and --stream exclude each other: a stream is read until its steps are done");
  }
  if (holdsOut(settings) && limit === undefined) {
    throw new SettingsError(`--limit is needed to evaluate on ${trainSplit}, of which so many ${items} are held out`);
  }
}

type Splits = Pick<ExperimentSettings, "trainSplit" | "validationSplit" | "testSplit">;

/** Whether the split to train on is one to evaluate on too, as of data sets that have no other one. */
const holdsOut = ({ trainSplit, validationSplit, testSplit }: Splits): boolean =>
  [validationSplit, testSplit].includes(trainSplit);

/** Finds the files. @throws DataError if a file is not parquet, or there is only one row group, which is held out */
export async function streamedFiles(
  data: Source,
  settings: ExperimentSettings,
  { access, ranks, signal: stop }: StreamContext,
): Promise<StreamedFiles> {
  const signal = ranks ? undefined : stop;
  const { files, ...found } = await filesOf(data, settings, { access, signal });
  const parts = holdsOut(settings)
    ? await holdOutLast(files)
    : { rest: files.map((file) => ({ file })), held: undefined };
  return { ...found, ...parts, signal };
}

/** The lanes of the micro-batches of a step. @param items in an epoch, which a step does not exceed */
export function lanesOf(
  { batch, microBatch }: Pick<ExperimentSettings, "batch" | "microBatch">,
  items = Infinity,
): Required<LaneSizes> {
  const all = Math.min(batch, items);
  const each = Math.min(microBatch, all);
  return { lanes: Math.ceil(all / each), last: (all % each || each) / each };
}

/** The event that they are opened. @param counts.images their number, if they are images */
export function streamEvent({ split, rest }: StreamedFiles, counts: { lanes: number; images?: number }): PipelineEvent {
  const bytes = rest.reduce((sum, { file }) => sum + file.size, 0);
  return { kind: "inner", of: "stream", event: { split, files: rest.length, bytes, ...counts } };
}

/** The files of the training split, of the folder or of the commit on the Hub. */
async function filesOf(
  { repo, revision, folder }: Source,
  { dataset, config, trainSplit: split }: ExperimentSettings,
  { access, signal }: { access: HubAccess; signal: AbortSignal | undefined },
): Promise<Pick<StreamedFiles, "config" | "split" | "readme"> & { files: StreamFile[] }> {
  const readme = await readFile(join(folder, "README.md"), "utf8").catch(() => undefined);
  const chosen = (paths: string[]) => {
    expectRows(paths, dataset);
    return splitFiles(paths, { dataset, readme, config, split });
  };
  if (repo === undefined || revision === undefined) {
    const { files, ...found } = chosen(await pathsIn(folder));
    return { ...found, readme, files: await Promise.all(files.map((name) => localFile(join(folder, name)))) };
  }
  const named: RepoName = { type: "dataset", id: repo, revision };
  const all = await filesOfCommit({ repo: named, commit: revision }, access, { signal });
  if (!all) throw new DataError(repo, `the cache ${access.cache} has no list of its files; pull it once while online`);
  const { files, ...found } = chosen(all.map(({ path }) => path));
  const own = files.flatMap((path) => all.filter((file) => file.path === path));
  return { ...found, readme, files: own.map((file) => ({ ...file, name: file.path })) };
}

async function localFile(path: string): Promise<StreamFile> {
  const open = () => openFile(path, (problem, options) => new DataError(path, problem, options));
  return { name: path, size: (await stat(path)).size, open };
}
