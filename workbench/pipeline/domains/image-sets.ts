// The images of an experiment, one set a split, all with the same classes. Where a data set has no validation split, a
// share of the training images is held out.

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
import { type ExperimentContext, lastEvent, type PipelineEvent, SettingsError } from "../stage.ts";
import type { ImageSettings } from "./image-settings.ts";

/** The opened image sets. Must be closed. */
export interface ImageSets {
  train: ImageSet;
  /** the part of `train` that is measured */
  trainSample: ImageSet;
  /** a random sample of `train` */
  someOfTrain(count: number): ImageSet;
  validation: ImageSet;
  /** for the results; the same object as `validation` if both are one split */
  test: ImageSet;
  close(): Promise<void>;
}

/** Names of the splits whose files are needed. */
export function splitsOf({ trainSplit, validationSplit, testSplit, holdOut }: ImageSettings): string[] {
  return [...new Set([trainSplit, ...(holdOut === undefined ? [validationSplit] : []), testSplit])];
}

/** Added to the seed, so that each random choice has its own. */
const STREAMS = { train: 1, sample: 2, limit: 3 } as const;

export interface ImageSetsPlace {
  /** of the data set */
  folder: string;
  /** names of the model's classes: classes of the data set with the same names get the same numbers */
  labels?: readonly string[] | undefined;
}

/** @throws DataError for a split, column or label that is not there; SettingsError when a part is left without images */
export async function* openImageSets(
  { folder, labels }: ImageSetsPlace,
  settings: ImageSettings,
  context: ExperimentContext,
): AsyncGenerator<PipelineEvent, ImageSets> {
  const { trainSplit, validationSplit, testSplit, holdOut, trainLimit, limit, trainSample, seed } = settings;
  const open: ImageSet[] = [];
  const opened = async function* (split: string): AsyncGenerator<PipelineEvent, ImageSet> {
    // The training split numbers the classes, because another split may lack some.
    const [first] = open;
    const classes = first?.declared ? { classes: first.classes } : {};
    const place = { ...placeOf(folder, settings, context), split, ...classes };
    const images = numberedAs(yield* openedImages(place), settings.classOrder === undefined ? labels : undefined);
    const told = first === undefined ? classOrderNotice(images) : undefined;
    open.push(images);
    if (told !== undefined) yield { kind: "note", text: told };
    return images;
  };
  const some = (images: ImageSet, count: number | undefined, stream: keyof typeof STREAMS): ImageSet =>
    count === undefined || count >= images.length ? images : sampleOf(images, { count, seed: seed + STREAMS[stream] });
  try {
    const whole = yield* opened(trainSplit);
    const parts =
      holdOut === undefined
        ? { train: whole, validation: yield* opened(validationSplit) }
        : partsOf(whole, { share: holdOut, seed });
    const train = some(parts.train, trainLimit, "train");
    const validation = some(parts.validation, limit, "limit");
    const isSame = holdOut === undefined && testSplit === validationSplit;
    const test = isSame ? validation : some(yield* opened(testSplit), limit, "limit");
    const someOfTrain = (count: number) => sampleOf(train, { count, seed: seed + STREAMS.sample });
    return {
      train,
      trainSample: someOfTrain(trainSample),
      someOfTrain,
      validation,
      test,
      close: () => closeAll(open),
    };
  } catch (error) {
    await closeAll(open);
    throw error;
  }
}

function partsOf(whole: ImageSet, { share, seed }: { share: number; seed: number }): ReturnType<typeof heldOut> {
  const parts = heldOut(whole, { share, seed });
  const [rest, held] = [parts.train.length, parts.validation.length];
  if (rest > 0 && held > 0) return parts;
  const left = `${rest} to train on and ${held} to validate with`;
  throw new SettingsError(`--hold-out ${share} of ${whole.length} images leaves ${left}; give another share`);
}

/** The names of the classes, in the order of their numbers. */
export async function* classesOf(
  folder: string,
  settings: ImageSettings,
  context: ExperimentContext,
): AsyncGenerator<PipelineEvent, readonly string[]> {
  const images = yield* openedImages({ ...placeOf(folder, settings, context), split: settings.trainSplit });
  await images.close();
  return images.classes;
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

/** @param options.cache of what is derived from data sets: images are kept in its `images` */
export async function* openedImages({ cache, ...options }: OpenImagesOptions): AsyncGenerator<PipelineEvent, ImageSet> {
  const told = (event: ImagesEvent) => ({ kind: "inner", of: "images", event }) as const;
  return (yield* lastEvent(openImages({ ...options, cache: join(cache, "images") }), "images", told)).images;
}

async function closeAll(sets: ImageSet[]): Promise<void> {
  await Promise.all(sets.splice(0).map((images) => images.close()));
}

/** Batches of images in order, float32 (images, size, size, 3); the caller disposes of them. */
export async function* imageInputs(
  loader: ImageLoader,
  options: { batch: number; limit?: number },
): AsyncGenerator<Tensor4D> {
  for await (const { pixels, items, size } of loader.batches(options)) {
    yield tensor4d(pixels, [items.length, size, size, 3]);
  }
}
