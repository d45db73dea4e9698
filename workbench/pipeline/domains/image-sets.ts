// The images of an experiment: one set for each split, all with the same classes. If the data set has no validation
// split, a share of the training images can be held out for it.

import { join } from "node:path";
import { type Tensor4D, tensor4d } from "@tensorflow/tfjs-core";
import {
  classOrderNotice,
  heldOut,
  type ImageLoader,
  type ImageSet,
  type ImagesEvent,
  numberedAs,
  type OpenImagesOptions,
  openImages,
  sampleOf,
} from "../../data/images/index.ts";
import { MissingSplitError } from "../../data/index.ts";
import { type ExperimentContext, lastEvent, type PipelineEvent, SettingsError } from "../stage.ts";
import type { ImageSettings } from "./image-settings.ts";

/** The image sets of an experiment. */
export interface ImageSets {
  train: ImageSet;
  /** sample of `train` on which the model is evaluated */
  trainSample: ImageSet;
  /** draws a random sample of `train`. @param seed default: that of the settings */
  someOfTrain(count: number, seed?: number): ImageSet;
  validation: ImageSet;
  /** split of the results; the same object as `validation` if both are one split */
  test: ImageSet;
}

/** Names of the splits whose files are needed. */
export function splitsOf({ trainSplit, validationSplit, testSplit, holdOut }: ImageSettings): string[] {
  return [...new Set([trainSplit, ...(holdOut === undefined ? [validationSplit] : []), testSplit])];
}

/** Offsets that are added to the seed, so that each random choice has its own stream. */
const STREAMS = { train: 1, sample: 2, limit: 3 } as const;

export interface ImageSetsPlace {
  /** folder of the data set */
  folder: string;
  /** names of the model's classes. Classes of the data set with the same names get the same numbers */
  labels?: readonly string[] | undefined;
}

/**
 * Opens the splits for training, validation and the results.
 * @throws DataError if a split, column or label does not exist; SettingsError if --hold-out leaves a part without
 * images
 */
export async function* openImageSets(
  { folder, labels }: ImageSetsPlace,
  settings: ImageSettings,
  context: ExperimentContext,
): AsyncGenerator<PipelineEvent, ImageSets> {
  const { trainSplit, validationSplit, testSplit, holdOut, trainLimit, limit, trainSample, seed } = settings;
  let first: ImageSet | undefined;
  const opened = async function* (split: string): AsyncGenerator<PipelineEvent, ImageSet> {
    // The classes are numbered as in the training split, because another split may lack some of them.
    const classes = first?.declared ? { classes: first.classes } : {};
    const place = { ...placeOf(folder, settings, context), split, ...classes };
    const images = numberedAs(yield* openedImages(place), settings.classOrder === undefined ? labels : undefined);
    const notice = first === undefined ? classOrderNotice(images) : undefined;
    first ??= images;
    if (notice !== undefined) yield { kind: "note", text: notice };
    return images;
  };
  const some = (images: ImageSet, count: number | undefined, stream: keyof typeof STREAMS): ImageSet =>
    count === undefined || count >= images.length ? images : sampleOf(images, { count, seed: seed + STREAMS[stream] });
  const whole = yield* opened(trainSplit);
  const parts =
    holdOut === undefined
      ? { train: whole, validation: yield* opened(validationSplit) }
      : partsOf(whole, { share: holdOut, seed });
  const train = some(parts.train, trainLimit, "train");
  const validation = some(parts.validation, limit, "limit");
  const isSame = holdOut === undefined && testSplit === validationSplit;
  const test = isSame ? validation : some(yield* opened(testSplit), limit, "limit");
  const someOfTrain = (count: number, own = seed) => sampleOf(train, { count, seed: own + STREAMS.sample });
  return { train, trainSample: someOfTrain(trainSample), someOfTrain, validation, test };
}

/** Runs work that opens splits. If the validation split is missing, --hold-out is suggested in the error message. */
export async function* advisingHoldOut<Event, Result>(
  work: AsyncGenerator<Event, Result>,
  { validationSplit, holdOut }: ImageSettings,
): AsyncGenerator<Event, Result> {
  try {
    return yield* work;
  } catch (error) {
    if (!(error instanceof MissingSplitError) || error.split !== validationSplit || holdOut !== undefined) throw error;
    error.message += "; give --validation-split, or --hold-out to validate on a share of the training images";
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
  folder: string,
  settings: ImageSettings,
  context: ExperimentContext,
): AsyncGenerator<PipelineEvent, readonly string[]> {
  return (yield* openedImages({ ...placeOf(folder, settings, context), split: settings.trainSplit })).classes;
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
