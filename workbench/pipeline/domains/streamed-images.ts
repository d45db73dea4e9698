// The training images of an experiment as a stream, for data larger than the disk: they are read while the model trains.

import { classOrderNotice, openImageShards, shardClasses } from "../../data/images/index.ts";
import type { Source } from "../fetch.ts";
import { type ExperimentContext, type PipelineEvent, SettingsError } from "../stage.ts";
import type { ImageSetsPlace, ImageTraining } from "./image-sets.ts";
import type { ImageSettings } from "./image-settings.ts";
import {
  checkStream,
  lanesOf,
  type StreamContext,
  type StreamedFiles,
  streamEvent,
  streamedFiles,
} from "./streamed-files.ts";

/** @throws SettingsError for settings that a stream of images does not have */
export function checkImageStream(settings: ImageSettings): void {
  if (!settings.stream) return;
  if (settings.holdOut) {
    throw new SettingsError(
      "--hold-out and --stream exclude each other: images of all files would be held out; give --hold-out 0 and --validation-split",
    );
  }
  checkStream(settings, "images");
}

/** Opens the training split. @throws DataError if it has no parquet files, or fewer row groups than a step micro-batches */
export async function* streamedTraining(
  { data, labels, head }: ImageSetsPlace,
  settings: ImageSettings,
  context: ExperimentContext,
): AsyncGenerator<PipelineEvent, ImageTraining> {
  const { trainSplit, seed, limit = 0, shuffleImages } = settings;
  const files = await streamedFiles(data, settings, context);
  const shards = await openImageShards({ ...shardsOf(files, settings), labels, head });
  const evaluated = files.held && (await shards.firstOf([files.held], limit));
  const sizes = lanesOf(settings, shards.length);
  const { lanes } = sizes;
  const train = await shards.stream({ ...sizes, seed, shuffled: Math.ceil(shuffleImages / lanes) });
  yield streamEvent(files, { lanes, images: shards.length });
  const notice = classOrderNotice(shards);
  if (notice !== undefined) yield { kind: "note", text: notice };
  return {
    train,
    classes: shards,
    someOfTrain: (count, own) => shards.first({ count, seed: own }),
    heldOut: (split) => (split === trainSplit ? evaluated : undefined),
    close: () => train.close(),
  };
}

/** The names of the classes of the training split. @throws DataError if the data set does not declare them */
export async function classesOfStream(
  data: Source,
  settings: ImageSettings,
  context: StreamContext,
): Promise<readonly string[]> {
  return (await shardClasses(shardsOf(await streamedFiles(data, settings, context), settings))).classes;
}

const shardsOf = (
  { rest: files, config, split, readme, signal }: StreamedFiles,
  { dataset, imageColumn, labelColumn, classOrder }: ImageSettings,
) => ({ dataset, config, split, readme, files, signal, imageColumn, labelColumn, classOrder });
