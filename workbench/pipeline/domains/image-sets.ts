// The images of an experiment: one set for each split, all with the same classes. If the data set has no validation
// split, a share of the training images can be held out for it.

import { join } from "node:path";
import { type Tensor4D, tensor4d } from "@tensorflow/tfjs-core";
import {
  classOrderNotice,
  heldOut,
  type ImageClasses,
  type ImageLoader,
  type ImageSet,
  type ImageStream,
  type ImagesEvent,
  numberedAs,
  type OpenImagesOptions,
  openImages,
  sampleOf,
} from "../../data/images/index.ts";
import { MissingSplitError } from "../../data/index.ts";
import type { Source } from "../fetch.ts";
import { type ExperimentContext, lastEvent, type PipelineEvent, SettingsError } from "../stage.ts";
import type { ImageSettings } from "./image-settings.ts";
import { classesOfStream, streamedTraining } from "./streamed-images.ts";

/** The images of an experiment. Must be closed. */
export interface ImageSets {
  train: ImageSet | ImageStream;
  /** sample of `train` on which the model is evaluated. Of a stream, it is read at the first call */
  trainSample(): Promise<ImageSet>;
  /** images of `train`: a random sample, or the first ones of a stream. @param seed default: that of the settings */
  someOfTrain(count: number, seed?: number): Promise<ImageSet>;
  validation: ImageSet;
  /** split of the results; the same object as `validation` if both are one split */
  test: ImageSet;
  close(): Promise<void>;
}

/** The images to train on. */
export interface ImageTraining extends Pick<ImageSets, "train" | "close"> {
  someOfTrain(count: number, seed: number): Promise<ImageSet>;
  /** the classes of the whole split, which number those of the other splits */
  classes: ImageClasses;
  /** images that are held out for validation instead of a split */
  validation?: ImageSet;
  /** images that are held out for a split to evaluate on which is the one to train on; undefined for other splits */
  heldOut?(split: string): ImageSet | undefined;
}

/** Names of the splits whose files are needed as a whole. */
export function splitsOf({ trainSplit, validationSplit, testSplit, holdOut, stream }: ImageSettings): string[] {
  const splits = [...new Set([trainSplit, ...(holdOut ? [] : [validationSplit]), testSplit])];
  return splits.filter((split) => !stream || split !== trainSplit);
}

/** Offsets that are added to the seed, so that each random choice has its own stream. */
const STREAMS = { train: 1, sample: 2, limit: 3 } as const;

export interface ImageSetsPlace {
  /** source of the data set */
  data: Source;
  /** names of the model's classes. Classes of the data set with the same names get the same numbers */
  labels?: readonly string[] | undefined;
  /** number of classes of the model's head */
  head: number;
}

/**
 * Opens the splits for training, validation and the results.
 * @throws DataError if a split, column or label does not exist; SettingsError if --hold-out leaves a part without
 * images
 */
export async function* openImageSets(
  place: ImageSetsPlace,
  settings: ImageSettings,
  context: ExperimentContext,
): AsyncGenerator<PipelineEvent, ImageSets> {
  const { validationSplit, testSplit, trainSample: count, seed } = settings;
  const training = yield* (settings.stream ? streamedTraining : storedTraining)(place, settings, context);
  const { train, classes, heldOut, validation: part, close } = training;
  try {
    const evaluated = async function* (split: string): AsyncGenerator<PipelineEvent, ImageSet> {
      return (
        heldOut?.(split) ?? some(yield* opened(split, { ...place, classes }, settings, context), settings, "limit")
      );
    };
    const validation = part ? some(part, settings, "limit") : yield* evaluated(validationSplit);
    const isSame = part === undefined && testSplit === validationSplit;
    const test = isSame ? validation : yield* evaluated(testSplit);
    const someOfTrain = (count: number, own = seed) => training.someOfTrain(count, own + STREAMS.sample);
    let sample: Promise<ImageSet> | undefined;
    const trainSample = () => {
      sample ??= someOfTrain(count);
      return sample;
    };
    return { train, trainSample, someOfTrain, validation, test, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The training split from the disk, or the part of it that is not held out. */
async function* storedTraining(
  place: ImageSetsPlace,
  settings: ImageSettings,
  context: ExperimentContext,
): AsyncGenerator<PipelineEvent, ImageTraining> {
  const { holdOut: share, seed } = settings;
  const classes = yield* opened(settings.trainSplit, place, settings, context);
  const notice = classOrderNotice(classes);
  if (notice !== undefined) yield { kind: "note", text: notice };
  const parts = share ? partsOf(classes, { share, seed }) : { train: classes };
  const train = some(parts.train, settings, "train");
  const someOfTrain = async (count: number, own: number) => sampleOf(train, { count, seed: own });
  return { ...parts, train, classes, someOfTrain, close: async () => {} };
}

/** A sample of a set, if the settings limit it. */
function some(
  images: ImageSet,
  { trainLimit, limit, seed }: ImageSettings,
  part: Exclude<keyof typeof STREAMS, "sample">,
): ImageSet {
  const count = part === "train" ? trainLimit : limit;
  return count === undefined || count >= images.length
    ? images
    : sampleOf(images, { count, seed: seed + STREAMS[part] });
}

/** A split from the disk. Its classes are numbered as in the training split, as another one may lack some of them. */
async function* opened(
  split: string,
  { data, labels, classes: first }: Pick<ImageSetsPlace, "data" | "labels"> & { classes?: ImageClasses },
  settings: ImageSettings,
  context: ExperimentContext,
): AsyncGenerator<PipelineEvent, ImageSet> {
  const classes = first?.declared ? { classes: first.classes } : {};
  const images = yield* openedImages({ ...placeOf(data.folder, settings, context), split, ...classes });
  return numberedAs(images, settings.classOrder === undefined ? labels : undefined);
}

/** Runs work that opens splits. If the validation split is missing, --hold-out is suggested in the error message. */
export async function* advisingHoldOut<Event, Result>(
  work: AsyncGenerator<Event, Result>,
  { validationSplit, holdOut, stream }: ImageSettings,
): AsyncGenerator<Event, Result> {
  try {
    return yield* work;
  } catch (error) {
    if (!(error instanceof MissingSplitError) || error.split !== validationSplit || holdOut) throw error;
    const or = stream ? "" : ", or --hold-out to validate on a share of the training images";
    error.message += `; give --validation-split${or}`;
    throw error;
  }
}

function partsOf(whole: ImageSet, { share, seed }: { share: number; seed: number }): ReturnType<typeof heldOut> {
  const parts = heldOut(whole, { share, seed });
  const [rest, held] = [parts.train.length, parts.validation.length];
  if (rest > 0 && held > 0) return parts;
  const left = `${rest} for training and ${held} for validation`;
  throw new SettingsError(`--hold-out ${share} of ${whole.length} images leaves ${left}; give another share`);
}

/** The names of the classes, in the order of their numbers. */
export async function* classesOf(
  data: Source,
  settings: ImageSettings,
  context: ExperimentContext,
): AsyncGenerator<PipelineEvent, readonly string[]> {
  if (settings.stream) return classesOfStream(data, settings, context);
  return (yield* opened(settings.trainSplit, { data }, settings, context)).classes;
}

const placeOf = (
  dataset: string,
  { config, imageColumn, labelColumn, classOrder }: ImageSettings,
  context: ExperimentContext,
) => ({
  dataset,
  config,
  imageColumn,
  labelColumn,
  classOrder,
  cache: context.cache,
  signal: context.signal,
});

/** Opens one split. @param options.cache cache folder; extracted images are kept in its folder `images` */
export async function* openedImages({ cache, ...options }: OpenImagesOptions): AsyncGenerator<PipelineEvent, ImageSet> {
  const told = (event: ImagesEvent) => ({ kind: "inner", of: "images", event }) as const;
  return (yield* lastEvent(openImages({ ...options, cache: join(cache, "images") }), "images", told)).images;
}

/** Batches of images in order, float32 (batch, size, size, 3). The caller disposes of them. */
export async function* imageInputs(
  loader: ImageLoader,
  options: { batch: number; limit?: number },
): AsyncGenerator<Tensor4D> {
  for await (const { pixels, items, size } of loader.batches(options)) {
    yield tensor4d(pixels, [items.length, size, size, 3]);
  }
}
