// The training text of an experiment as a stream, for data larger than the disk: it is read and tokenized while the model
// trains, by range requests if it is on the Hub.

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { HubAccess, RepoName } from "../../../hub/access/repository.ts";
import { openFile } from "../../../hub/files/byte-source.ts";
import { filesOfCommit } from "../../../hub/pull/repo-files.ts";
import {
  DataError,
  firstPass,
  holdOutLast,
  openTokenStream,
  type StreamFile,
  splitFiles,
  splitFilesOf,
  type TextWindows,
  type TokenStream,
  type TokenStreamOptions,
} from "../../data/index.ts";
import type { TokenWindows } from "../../data/types.ts";
import type { StreamedWindows } from "../../train/index.ts";
import type { Source } from "../fetch.ts";
import { type ExperimentContext, type PipelineEvent, SettingsError } from "../stage.ts";
import type { LanguageSettings } from "./language.ts";

/** The training text as a stream. Must be closed. */
export interface StreamedTexts {
  train: StreamedWindows;
  /** The first windows of a stream with this seed, which calibrations read. Default: the seed of the settings */
  calibration(request: { samples: number; seed: number | undefined }): TokenWindows;
  /** Windows of the training split that are not trained on, where it is evaluated on too; undefined for other splits */
  heldOut(split: string): TextWindows | undefined;
  close(): Promise<void>;
}

type StreamContext = Pick<ExperimentContext, "access" | "signal" | "ranks">;

/** @throws SettingsError for settings that a stream does not have */
export function checkStream(settings: LanguageSettings): void {
  const { stream, steps, trainLimit, trainSplit, limit } = settings;
  if (!stream) return;
  if (steps === undefined) {
    throw new SettingsError("--stream needs --steps: the length of a text is not known before it has been read");
  }
  if (trainLimit !== undefined) {
    throw new SettingsError("--train-limit and --stream exclude each other: a stream is read until --steps are done");
  }
  if (holdsOut(settings) && limit === undefined) {
    throw new SettingsError(`--limit is needed to evaluate on ${trainSplit}, of which so many windows are held out`);
  }
}

/** Whether the split to train on is one to evaluate on too, as of data sets that have no other one. */
const holdsOut = ({ trainSplit, validationSplit, testSplit }: LanguageSettings): boolean =>
  [validationSplit, testSplit].includes(trainSplit);

/** Opens the training split. @throws DataError if it has no parquet files, or fewer row groups than a step micro-batches */
export async function* openStream(
  settings: LanguageSettings,
  { data, tokenizer, context }: { data: Source; tokenizer: string; context: StreamContext },
): AsyncGenerator<PipelineEvent, StreamedTexts> {
  const { batch, microBatch, trainSplit, seed, shuffleWindows, column, context: length } = settings;
  const { steps = 0, calibrationContext = length } = settings;
  // Several processes stop after a step that all have made, so each needs its data.
  const signal = context.ranks ? undefined : context.signal;
  const files = await filesOf(data, settings, { access: context.access, signal });
  const { held, rest } = holdsOut(settings) ? await holdOutLast(files) : { rest: files.map((file) => ({ file })) };
  const lanes = Math.ceil(batch / Math.min(microBatch, batch));
  const how = { files: rest, column, tokenizer, signal };
  const evaluated = held && (await heldWindows({ ...how, files: [held] }, settings));
  const stream = await openTokenStream({ ...how, lanes, context: length, seed, shuffled: shuffleWindows });
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  yield { kind: "inner", of: "stream", event: { split: trainSplit, files: files.length, bytes, lanes } };
  const open = (own: number) =>
    openTokenStream({ ...how, lanes: 1, context: calibrationContext, seed: own, shuffled: shuffleWindows });
  return {
    train: { stream, length: steps * batch },
    calibration: ({ samples, seed: own = seed }) =>
      firstWindows(() => open(own), { length: samples, context: calibrationContext }),
    heldOut: (split) => (split === trainSplit ? evaluated : undefined),
    close: () => stream.close(),
  };
}

/** The first `limit` windows of what is held out, or as many as it has. */
async function heldWindows(
  how: Pick<TokenStreamOptions, "files" | "column" | "tokenizer" | "signal">,
  { context, limit = 0 }: LanguageSettings,
): Promise<TextWindows> {
  const stream = await openTokenStream({ ...how, lanes: 1, context, seed: 0, shuffled: 1, workers: 0 });
  try {
    const windows = await firstPass(stream, limit);
    const { length } = windows;
    const counts = { stride: context, scored: length * context, leftOut: 0, newTargets: () => context };
    return { length, context, ...counts, read: async (i) => windows[i] as Int32Array };
  } finally {
    await stream.close();
  }
}

/** The files of the training split, of the folder or of the commit on the Hub. */
async function filesOf(
  data: Source,
  { dataset, config, trainSplit: split }: LanguageSettings,
  { access, signal }: { access: HubAccess; signal: AbortSignal | undefined },
): Promise<StreamFile[]> {
  const { repo, revision, folder } = data;
  if (repo === undefined || revision === undefined) {
    const { files } = await splitFilesOf(folder, { config, split });
    return Promise.all(files.map((name) => localFile(join(folder, name))));
  }
  const named: RepoName = { type: "dataset", id: repo, revision };
  const all = await filesOfCommit({ repo: named, commit: revision }, access, { signal });
  if (!all) throw new DataError(repo, `the cache ${access.cache} has no list of its files; pull it once while online`);
  const readme = await readFile(join(folder, "README.md"), "utf8").catch(() => undefined);
  const chosen = splitFiles(
    all.map(({ path }) => path),
    { dataset, readme, config, split },
  );
  return chosen.files
    .flatMap((path) => all.filter((file) => file.path === path))
    .map((file) => ({ ...file, name: file.path }));
}

async function localFile(path: string): Promise<StreamFile> {
  const open = () => openFile(path, (problem, options) => new DataError(path, problem, options));
  return { name: path, size: (await stat(path)).size, open };
}

/** The first windows of a stream, which are read once, when the first one is needed, and kept. */
function firstWindows(
  open: () => Promise<TokenStream>,
  { length, context }: { length: number; context: number },
): TokenWindows {
  let windows: Promise<Int32Array[]> | undefined;
  const readAll = async () => {
    const stream = await open();
    try {
      return await stream.reader().take(length, { step: 0, index: 0 });
    } finally {
      await stream.close();
    }
  };
  return {
    length,
    context,
    async read(i) {
      windows ??= readAll();
      return (await windows)[i] as Int32Array;
    },
  };
}
