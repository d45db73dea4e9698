// The domain of image classifiers: images are decoded and augmented in worker threads, models are scored by top-1 and
// top-5 accuracy.

import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import {
  clippedNotice,
  expectClasses,
  type ImageLoader,
  type ImageSet,
  type ImageTransform,
  imageLoader,
  type TrainingTransform,
} from "../../data/images/index.ts";
import type { Accuracy } from "../../evaluate/accuracy.ts";
import { describeModel, readConfig } from "../../models/folder/load.ts";
import { classifierLogits, imageSettings, isClassifier, type Model } from "../../models/index.ts";
import { writeClassification } from "../../report/index.ts";
import { type Evaluation, imageTask } from "../../train/index.ts";
import { fetchDataset, fetchModel, type Source } from "../fetch.ts";
import { classNames, confusionRows, scoreImages } from "../measure.ts";
import type { PipelineEvent } from "../stage.ts";
import { resultOf, SettingsError } from "../stage.ts";
import type { Domain, OpenData, Sources } from "./domain.ts";
import { advisingHoldOut, classesOf, type ImageSets, imageInputs, openImageSets, splitsOf } from "./image-sets.ts";
import { evaluationOptions, type ImageSettings, imageExperiment, trainingTransform } from "./image-settings.ts";
import { checkScratch, scratchModel, scratchName } from "./scratch-model.ts";

export const imageDomain: Domain<ImageSettings> = {
  task: "image-classification",
  schema: imageExperiment,

  check(settings) {
    const { randAugment, autoAugment, colorJitter, newHead, distill } = settings;
    checkScratch(settings);
    if (newHead && distill > 0) {
      throw new SettingsError(
        "--new-head and --distill contradict each other, because the teacher has other classes; choose one",
      );
    }
    const policy = autoAugment === "none" ? undefined : autoAugment;
    const all = { randAugment, autoAugment: policy, colorJitter };
    const given = Object.entries(all).filter(([, value]) => value !== undefined);
    if (given.length < 2) return;
    const flags = { randAugment: "--rand-augment", autoAugment: "--auto-augment", colorJitter: "--color-jitter" };
    const names = given.map(([name]) => flags[name as keyof typeof flags]);
    throw new SettingsError(`${names.join(" and ")} contradict each other; choose one`);
  },

  async *fetch(settings, context) {
    const { model, dataset, config, crop: cropShare, cropMode, interpolation } = settings;
    const preparation = { cropShare, cropMode, interpolation };
    const found =
      scratchName(model) === undefined
        ? { ...(yield* fetchModel(model, { ...context, trainable: true })), preparation }
        : undefined;
    const splits = splitsOf(settings);
    const data = yield* advisingHoldOut(fetchDataset({ name: dataset, config, splits }, context), settings);
    if (found && !settings.newHead) return { model: found, data };
    const classes = yield* classesOf(data.folder, settings, context);
    if (found) return { model: { ...found, head: { classes, seed: settings.seed } }, data };
    return { model: await scratchModel(settings, { classes, cache: context.cache }), data };
  },

  async *open(settings, sources, context) {
    const own = await preparationOf(sources.model, settings);
    yield { kind: "stage", stage: "open images" };
    const place = { folder: sources.data.folder, labels: own.labels };
    const sets = yield* advisingHoldOut(openImageSets(place, settings, context), settings);
    const { classes } = own;
    for (const images of [sets.train, sets.validation, sets.test]) expectClasses(images, { classes, advice: ADVICE });
    return openData({ settings, sources, sets, own });
  },

  metrics: ({ metrics }, { testSplit: split }) => [
    { type: "accuracy", name: "top-1 accuracy", value: metrics.top1 as number, split },
    { type: "accuracy", name: "top-5 accuracy", value: metrics.top5 as number, split },
  ],
};

const ADVICE = "choose a model trained on these classes, or pass --new-head";

type Preparation = ReturnType<typeof imageSettings>;

interface Opened {
  settings: ImageSettings;
  sources: Sources;
  sets: ImageSets;
  /** image preparation of the checkpoint */
  own: Preparation;
}

function openData({ settings, sources, sets, own }: Opened): OpenData {
  const { workers, skipBad, dropPath, mixup, cutmix, labelSmoothing, dataset, trainSplit } = settings;
  const evaluation = evaluationOptions(settings, own);
  const training = trainingTransform(settings, evaluation.transform);
  const loaders = new Map<ImageSet, ImageLoader>();
  const loaderOf = (images: ImageSet, transform: ImageTransform = evaluation.transform): ImageLoader => {
    const loader = loaders.get(images) ?? imageLoader(images, { ...evaluation, transform, workers, skipBad });
    loaders.set(images, loader);
    return loader;
  };
  const scoreOn = (images: ImageSet, model: Model, signal: AbortSignal | undefined) =>
    scoreImages(model, { loader: loaderOf(images), batch: settings.microBatch, signal });
  const told = new Set<ImageLoader>();
  /** One note for each set with clipped pixels. */
  const clipped = function* (): Generator<PipelineEvent> {
    for (const loader of loaders.values()) {
      const text = told.has(loader) ? undefined : clippedNotice(loader);
      if (text === undefined) continue;
      told.add(loader);
      yield { kind: "note", text: `${loader.images.split}: ${text}` };
    }
  };
  /** accuracy of the model that was scored last, so that `conclude` does not score it again */
  let onTest: Accuracy | undefined;
  return {
    trainItems: sets.train.length,
    task(model, teacher) {
      return imageTask({
        model,
        dropPath,
        loader: loaderOf(sets.train, training),
        mixup,
        cutmix,
        labelSmoothing,
        ...(teacher && { teacher }),
        settings: {
          model: sources.model.name,
          dataset,
          split: trainSplit,
          transform: storedTransform(training),
          ...(dropPath !== undefined && { dropPath }),
        },
      });
    },
    async *score(model, signal) {
      onTest = yield* scoreOn(sets.test, model, signal);
      yield* clipped();
      const { top1, top5, loss } = onTest;
      return { top1, top5, loss };
    },
    async evaluate(model, signal) {
      const values: Evaluation = {};
      for (const [split, images] of [
        ["train", sets.trainSample],
        ["validation", sets.validation],
      ] as const) {
        const { top1, loss } = await resultOf(scoreOn(images, model, signal));
        values[split] = { top1, loss };
      }
      return values;
    },
    calibration: (samples, batch) => {
      const images = sets.someOfTrain(samples);
      return {
        inputs: imageInputs(loaderOf(images), { batch }),
        forward: (model, images: Tensor) => classifierLogits(model, images as Tensor4D),
        total: images.length,
        unit: "images",
      };
    },
    async *conclude(model, folder, signal) {
      const test = onTest ?? (yield* scoreOn(sets.test, model, signal));
      const train = yield* scoreOn(sets.trainSample, model, signal);
      const isOwn = sets.test !== sets.validation;
      const validation = isOwn ? yield* scoreOn(sets.validation, model, signal) : test;
      yield* clipped();
      const splits = { train, validation, ...(isOwn && { [settings.testSplit]: test }) };
      await writeClassification(folder, {
        classes: classNames(sets.test, own),
        splits: Object.fromEntries(
          Object.entries(splits).map(([name, { top1, top5, loss }]) => [name, { top1, top5, loss }]),
        ),
        confusion: confusionRows(test),
      });
    },
    async close() {
      await Promise.all([...loaders.values()].map((loader) => loader.close()));
    },
  };
}

/**
 * The transform as checkpoints store and compare it. `colourJitter` is the name that the setting had in the first
 * checkpoints.
 */
const storedTransform = (training: TrainingTransform): string =>
  JSON.stringify(training).replace('"colorJitter":', '"colourJitter":');

/** The image preparation of the checkpoint. @throws SettingsError if the model is not an image classifier */
async function preparationOf({ folder, ...changes }: Source, { model: name }: ImageSettings): Promise<Preparation> {
  const { architecture } = await readConfig(folder);
  if (!isClassifier({ architecture })) {
    throw new SettingsError(`--model ${name} is a ${architecture.type}; an image classifier is needed`);
  }
  return imageSettings(await describeModel(folder, changes), folder);
}
