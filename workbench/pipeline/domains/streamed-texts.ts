// The training text of an experiment as a stream, for data larger than the disk: it is read and tokenized while the model
// trains.

import {
  firstPass,
  openTokenStream,
  type TextWindows,
  type TokenStream,
  type TokenStreamOptions,
} from "../../data/index.ts";
import type { TokenWindows } from "../../data/types.ts";
import type { StreamedWindows } from "../../train/index.ts";
import type { Source } from "../fetch.ts";
import { type PipelineEvent, SettingsError } from "../stage.ts";
import type { LanguageSettings } from "./language.ts";
import { checkStream, lanesOf, type StreamContext, streamEvent, streamedFiles } from "./streamed-files.ts";

/** The training text as a stream. Must be closed. */
export interface StreamedTexts {
  train: StreamedWindows;
  /** The first windows of a stream with this seed, which calibrations read. Default: the seed of the settings */
  calibration(request: { samples: number; seed: number | undefined }): TokenWindows;
  /** Windows of the training split that are not trained on, where it is evaluated on too; undefined for other splits */
  heldOut(split: string): TextWindows | undefined;
  close(): Promise<void>;
}

/** @throws SettingsError for settings that a stream of text does not have */
export function checkTextStream(settings: LanguageSettings): void {
  if (!settings.stream) return;
  if (settings.steps === undefined) {
    throw new SettingsError("--stream needs --steps: the length of a text is not known before it has been read");
  }
  checkStream(settings, "windows");
}

/** Opens the training split. @throws DataError if it has no parquet files, or fewer row groups than a step micro-batches */
export async function* openTextStream(
  settings: LanguageSettings,
  { data, tokenizer, context }: { data: Source; tokenizer: string; context: StreamContext },
): AsyncGenerator<PipelineEvent, StreamedTexts> {
  const { batch, trainSplit, seed, shuffleWindows: shuffled, column, context: length } = settings;
  const { steps = 0, calibrationContext = length } = settings;
  const files = await streamedFiles(data, settings, context);
  const { rest, held, signal } = files;
  // Places in checkpoints of texts are those of lanes that have as much each.
  const { lanes } = lanesOf(settings);
  const how = { files: rest, column, tokenizer, signal };
  const evaluated = held && (await heldWindows({ ...how, files: [held] }, settings));
  const stream = await openTokenStream({ ...how, lanes, context: length, seed, shuffled });
  yield streamEvent(files, { lanes });
  const open = (own: number) => openTokenStream({ ...how, lanes: 1, context: calibrationContext, seed: own, shuffled });
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
