// The domain of image classifiers: images are decoded and augmented in worker threads, models are scored by top-1 and
// top-5 accuracy.

import type { Tensor, Tensor4D } from "@tensorflow/tfjs-core";
import {
  clippedNotice,
  expectClasses,
  expectHead,
  type ImageLoader,
  type ImageLoaderOptions,
  type ImageSet,
  type ImageStream,
  type ImageStreamLoader,
  imageLoader,
  imageStreamLoader,
  type TrainingTransform,
} from "../../data/images/index.ts";
import type { Sharing } from "../../distributed/shares.ts";
import type { Accuracy } from "../../evaluate/accuracy.ts";
import { describeModel, readConfigFields } from "../../models/folder/load.ts";
import { classifierLogits, imageSettings, isClassifier, type Model } from "../../models/index.ts";
import { writeClassification } from "../../report/index.ts";
import { type Evaluation, imageTask, type Task } from "../../train/index.ts";
import { fetchDataset, fetchModel, type Source } from "../fetch.ts";
import { classNames, confusionRows, rowOfImages, scoreImages } from "../measure.ts";
import type { PipelineEvent } from "../stage.ts";
import { resultOf, SettingsError } from "../stage.ts";
import type { CalibrationData, CalibrationRequest, Domain, OpenData, Scored, Sources, Teacher } from "./domain.ts";
import { advisingHoldOut, classesOf, type ImageSets, imageInputs, openImageSets, splitsOf } from "./image-sets.ts";
import { evaluationOptions, type ImageSettings, imageExperiment, trainingTransform } from "./image-settings.ts";
import { checkScratch, scratchModel, scratchName } from "./scratch-model.ts";
import { checkImageStream } from "./streamed-images.ts";

/** The domain of image classifiers. */
export const imageDomain: Domain<ImageSettings> = {
  task: "image-classification",
  schema: imageExperiment,

  check(settings) {
    const { randAugment, autoAugment, colorJitter, newHead, distill, teacher, lora, loraFull } = settings;
    checkScratch(settings);
    checkImageStream(settings);
    if (newHead && distill > 0 && teacher === undefined) {
      throw new SettingsError(
        "--new-head and --distill contradict each other, because the teacher has other classes; choose one, or give --teacher",
      );
    }
    if (newHead && lora !== undefined && loraFull === undefined) {
      throw new SettingsError(
        "--lora leaves the new head untrained; name its parameters, such as --lora-full fc or head",
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
    const classes = yield* classesOf(data, settings, context);
    if (found) return { model: { ...found, head: { classes, seed: settings.seed } }, data };
    return { model: await scratchModel(settings, { classes, cache: context.cache }), data };
  },

  async *open(settings, sources, context) {
    const own = await preparationOf(sources.model, settings);
    yield { kind: "stage", stage: "open images" };
    const { classes, labels } = own;
    const place = { data: sources.data, labels, head: classes };
    const sets = yield* advisingHoldOut(openImageSets(place, settings, context), settings);
    try {
      for (const images of [sets.train, sets.validation, sets.test]) {
        if (isStream(images)) expectHead(images, { classes, advice: ADVICE });
        else expectClasses(images, { classes, advice: ADVICE });
      }
      return new ImageData({ settings, sources, sets, own });
    } catch (error) {
      await sets.close();
      throw error;
    }
  },

  metrics: ({ metrics }, { testSplit: split }) => [
    { type: "accuracy", name: "top-1 accuracy", value: metrics.top1 as number, split },
    { type: "accuracy", name: "top-5 accuracy", value: metrics.top5 as number, split },
  ],
};

const ADVICE = "choose a model trained on these classes, or pass --new-head";

const isStream = (images: ImageSet | ImageStream): images is ImageStream => "reader" in images;

type Preparation = ReturnType<typeof imageSettings>;

interface Opened {
  settings: ImageSettings;
  sources: Sources;
  sets: ImageSets;
  /** image preparation of the checkpoint */
  own: Preparation;
}

/** The opened images of an experiment, with a loader for each set and transform. */
class ImageData implements OpenData {
  readonly trainItems: number;
  private readonly opened: Opened;
  private readonly evaluation: ReturnType<typeof evaluationOptions>;
  private readonly training: TrainingTransform;
  private readonly loaders = new Map<ImageSet, ImageLoader>();
  private trainLoader: ImageLoader | ImageStreamLoader | undefined;
  /** loaders for which the note about clipped pixels has been shown */
  private readonly told = new Set<ImageLoader | ImageStreamLoader>();
  /** accuracy of the last scored model on the test split, which `conclude` reuses */
  private onTest: Accuracy | undefined;

  constructor(opened: Opened) {
    this.opened = opened;
    this.trainItems = opened.sets.train.length;
    this.evaluation = evaluationOptions(opened.settings, opened.own);
    this.training = trainingTransform(opened.settings, this.evaluation.transform);
  }

  task(model: Model, teacher: Teacher | undefined): Task {
    const { settings, sources } = this.opened;
    const { dropPath, mixup, cutmix, labelSmoothing, dataset, trainSplit: split } = settings;
    // A place in a stream means nothing in other files.
    const revision = settings.stream && sources.data.revision;
    return imageTask({
      model,
      dropPath,
      loader: this.forTraining(),
      mixup,
      cutmix,
      labelSmoothing,
      ...(teacher && { teacher }),
      settings: {
        model: sources.model.name,
        dataset,
        split,
        transform: storedTransform(this.training),
        ...(dropPath !== undefined && { dropPath }),
        ...(revision && { revision }),
      },
    });
  }

  async *score(model: Model, sharing: Sharing): AsyncGenerator<PipelineEvent, Scored> {
    this.onTest = yield* this.scoreOn(this.opened.sets.test, model, sharing);
    yield* this.clipped();
    return rowOfImages(this.onTest, this.evaluation);
  }

  async evaluate(model: Model, sharing: Sharing): Promise<Evaluation> {
    const { trainSample, validation } = this.opened.sets;
    const values: Evaluation = {};
    for (const [split, images] of Object.entries({ train: await trainSample(), validation })) {
      const { top1, loss } = await resultOf(this.scoreOn(images, model, sharing));
      values[split] = { top1, loss };
    }
    return values;
  }

  calibration({ samples, batch, seed }: CalibrationRequest): CalibrationData {
    const { train, someOfTrain } = this.opened.sets;
    let images: Promise<ImageSet> | undefined;
    const inputs = async function* (this: ImageData) {
      images ??= someOfTrain(samples, seed);
      yield* imageInputs(this.loaderOf(await images), { batch });
    };
    return {
      inputs: inputs.bind(this),
      forward: (model, pixels: Tensor) => classifierLogits(model, pixels as Tensor4D),
      total: Math.min(samples, train.length),
      unit: "images",
    };
  }

  async *conclude(model: Model, folder: string, signal: AbortSignal): AsyncGenerator<PipelineEvent, void> {
    const { sets, settings, own } = this.opened;
    const test = this.onTest ?? (yield* this.scoreOn(sets.test, model, { signal }));
    const train = yield* this.scoreOn(await sets.trainSample(), model, { signal });
    const isOwn = sets.test !== sets.validation;
    const validation = isOwn ? yield* this.scoreOn(sets.validation, model, { signal }) : test;
    yield* this.clipped();
    const splits = { train, validation, ...(isOwn && { [settings.testSplit]: test }) };
    const scores = Object.entries(splits).map(([name, { top1, top5, loss }]) => [name, { top1, top5, loss }]);
    await writeClassification(folder, {
      classes: classNames(sets.test, own),
      splits: Object.fromEntries(scores),
      confusion: confusionRows(test),
    });
  }

  async close(): Promise<void> {
    await this.opened.sets.close();
    await Promise.all(this.allLoaders().map((loader) => loader.close()));
  }

  private loaderOf(images: ImageSet): ImageLoader {
    const loader = this.loaders.get(images) ?? imageLoader(images, { ...this.evaluation, ...this.reading });
    this.loaders.set(images, loader);
    return loader;
  }

  private forTraining(): ImageLoader | ImageStreamLoader {
    const { train } = this.opened.sets;
    const options = { ...this.evaluation, ...this.reading, transform: this.training };
    this.trainLoader ??= isStream(train) ? imageStreamLoader(train, options) : imageLoader(train, options);
    return this.trainLoader;
  }

  private allLoaders(): (ImageLoader | ImageStreamLoader)[] {
    return [...this.loaders.values(), ...(this.trainLoader ? [this.trainLoader] : [])];
  }

  private get reading(): Pick<ImageLoaderOptions, "workers" | "skipBad"> {
    const { workers, skipBad } = this.opened.settings;
    return { workers, skipBad };
  }

  private scoreOn(images: ImageSet, model: Model, sharing: Sharing) {
    return scoreImages(model, { loader: this.loaderOf(images), batch: this.opened.settings.microBatch, ...sharing });
  }

  /** One note for each set with clipped pixels. */
  private *clipped(): Generator<PipelineEvent> {
    for (const loader of this.allLoaders()) {
      const text = this.told.has(loader) ? undefined : clippedNotice(loader);
      if (text === undefined) continue;
      this.told.add(loader);
      yield { kind: "note", text: `${loader.images.split}: ${text}` };
    }
  }
}

/**
 * The transform in the form in which checkpoints store and compare it. `colorJitter` is written as `colourJitter`, its
 * name in the first checkpoints.
 */
const storedTransform = (training: TrainingTransform): string =>
  JSON.stringify(training).replace('"colorJitter":', '"colourJitter":');

/** The image preparation of the checkpoint. @throws SettingsError if the model is not an image classifier */
async function preparationOf({ folder, ...changes }: Source, { model: name }: ImageSettings): Promise<Preparation> {
  const { architecture } = await readConfigFields(folder);
  if (!isClassifier({ architecture })) {
    throw new SettingsError(`--model ${name} is a ${architecture.type}; an image classifier is needed`);
  }
  return imageSettings(await describeModel(folder, changes), folder);
}
