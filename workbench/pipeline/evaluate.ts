// Evaluates one model on one split: the perplexity of a language model on text, or the accuracy of an image classifier.
// It fetches the model and the data, prepares the data as the model needs it, and scores each window or image.

import {
  type ClassOrder,
  classOrderNotice,
  clippedNotice,
  imageFaults,
  imageLoader,
  numberedAs,
} from "../data/images/index.ts";
import { wordsAndBytes } from "../data/index.ts";
import { isFirst, type ProcessGroup } from "../distributed/process-group.ts";
import { perUnit } from "../evaluate/perplexity.ts";
import { modelCounts } from "../models/counts.ts";
import {
  imageSettings,
  isClassifier,
  isLanguageModel,
  languageSizes,
  type Model,
  resizePositions,
  usualContext,
  type WeightType,
} from "../models/index.ts";
import {
  makeRunFolder,
  startRun,
  updateRun,
  writeClassification,
  writeComparison,
  writeReport,
} from "../report/index.ts";
import type { SplitSettings } from "./domains/domain.ts";
import { openedImages } from "./domains/image-sets.ts";
import type { ImageSettings } from "./domains/image-settings.ts";
import { evaluationOptions } from "./domains/image-settings.ts";
import { expectContext, firstWindows, openTexts } from "./domains/texts.ts";
import { fetchDataset, fetchModel, type Source } from "./fetch.ts";
import { cutName, load } from "./load.ts";
import { classNames, confusionRows, rowOfImages, rowOfText, scoreImages, scoreText } from "./measure.ts";
import {
  type Evaluated,
  type EvaluationFacts,
  evaluationFacts,
  evaluationRow,
  writeEvaluationResults,
} from "./results/evaluation-results.ts";
import { engineFacts } from "./results/source-facts.ts";
import { type Origin, SettingsError, type StageContext, StageError } from "./stage.ts";

/** Relative FLOPs of a whole model by both counts. */
export interface RelativeFlops {
  /** as the reference implementation counts them */
  reference: number;
  /** all multiply-adds */
  actual: number;
}

async function relativeFlopsOf<Config>(model: Model<Config>): Promise<RelativeFlops> {
  const { reference, actual } = await modelCounts(model);
  return { reference: reference.relative, actual: actual.relative };
}

/** Settings of `evaluateText`. */
export interface TextEvaluation extends SplitSettings {
  /** tokens from the start of one window to that of the next. Default `context` */
  stride?: number | undefined;
  /** whether the end of the text that does not fill a whole window is left out. Default false */
  wholeWindows?: boolean | undefined;
  /** number of windows to score, from the start. Default: all */
  limit?: number | undefined;
  /** windows per forward pass. Default: as many as have 4096 tokens */
  batch?: number | undefined;
  /** number type of dense weights in memory. Default `float32` */
  dtype?: WeightType | undefined;
  /** size of a model of several sizes, as a share of the linear parameters. Default: it is not cut */
  keep?: number | undefined;
  /** file to which the results are written as results.json. Default: none is written */
  results?: string | undefined;
}

/**
 * Measures the perplexity of a language model.
 * @param name folder, name on the Hub, or name of the zoo
 * @param context.ranks processes that share the windows; the first one writes the results. Default: there is one
 * @throws SettingsError if the settings do not fit the model; StageError if it is not a language model
 */
export async function* evaluateText(
  name: string,
  settings: TextEvaluation,
  { origin, ranks, ...context }: StageContext & { origin: Origin; ranks?: ProcessGroup | undefined },
) {
  const { dataset, config, split, column, encoding, stride, wholeWindows: whole, limit, batch, dtype, keep } = settings;
  const source = yield* fetchModel(name, context);
  const data = yield* fetchDataset({ name: dataset, config, splits: [split] }, context);
  const model = yield* load(source.folder, { dtype, keep });
  try {
    const sizes = languageSizes(languageModel(model, name));
    const length = settings.context ?? usualContext(sizes);
    expectContext(length, { flag: "--context", positions: sizes.positions });
    if (stride !== undefined && stride > length) {
      const problem = `--stride ${stride} is longer than a window of ${length} tokens`;
      throw new SettingsError(`${problem}: tokens between windows would not be scored; give at most ${length}`);
    }
    const { cache, signal } = context;
    const places = { dataset: data.folder, tokenizer: source.folder, cache, ranks, signal };
    const texts = await openTexts({ ...places, config, column, encoding, context: length, stride, whole });
    try {
      const windows = firstWindows(yield* texts.windows(split), limit);
      const score = yield* scoreText(model, { windows, ranks, signal, ...(batch !== undefined && { batch }) });
      const relativeFlops = await relativeFlopsOf(model);
      const units = perUnit(score, await wordsAndBytes(windows, texts.tokenizer));
      const revisions = { revision: source.revision, datasetRevision: data.revision };
      const weights = { dtype: dtype ?? "float32" };
      const row = rowOfText(score);
      const scored = { ...row, metrics: { ...row.metrics, ...units } };
      const asked = {
        context: length,
        wholeWindows: whole ?? false,
        ...weights,
        ...given({ stride, limit, column, keep }),
      };
      const facts = {
        ...{ name: evaluationTitle({ model: name, keep, dataset, config, split }), recipe: "eval ppl" },
        ...{ source, data, config, split, origin, settings: asked },
      };
      const evaluated = { model, source, scored, seconds: score.seconds };
      if (settings.results !== undefined && isFirst(ranks)) {
        await writeEvaluationResults(settings.results, evaluated, facts);
      }
      return {
        model: name,
        ...given({ keep }),
        dataset,
        config,
        split,
        ...weights,
        ...revisions,
        ...score,
        ...units,
        relativeFlops,
      };
    } finally {
      await texts.close();
    }
  } finally {
    model.dispose();
  }
}

export type EvaluatedText = StageResult<typeof evaluateText>;

type StageResult<Stage extends (...args: never[]) => AsyncGenerator<unknown, unknown>> =
  ReturnType<Stage> extends AsyncGenerator<unknown, infer Result> ? Result : never;

function languageModel(model: Model, name: string): Model {
  if (isLanguageModel(model)) return model;
  const { type } = model.architecture;
  throw new StageError(`${name} is a ${type}, not a language model; use eval acc for image classifiers`);
}

export interface ImageEvaluation
  extends Partial<Pick<ImageSettings, "crop" | "cropMode" | "interpolation" | "imageColumn" | "labelColumn">> {
  dataset: string;
  config?: string | undefined;
  split: string;
  classOrder?: ClassOrder | undefined;
  /** edge of the model's input image, pixels. Default: the checkpoint's */
  size?: number | undefined;
  /** number of images to score. Default: all */
  limit?: number | undefined;
  /** images per forward pass */
  batch?: number | undefined;
  /** threads that decode images */
  workers?: number | undefined;
  /** size of a model of several sizes, as a share of the linear parameters. Default: it is not cut */
  keep?: number | undefined;
  /** whether images that cannot be decoded are skipped instead of being an error */
  skipBad: boolean;
  /** folder in which a report is written. Default: none is written */
  report?: string | undefined;
  /** file to which the results are written as results.json. Default: none is written */
  results?: string | undefined;
}

/**
 * Measures the accuracy of an image classifier.
 * @param name folder, name on the Hub, or name of the zoo
 * @param context.ranks processes that share the images; the first one writes the results. Default: there is one
 * @throws StageError if the model is not an image classifier; DataError if the data cannot be read or has other classes
 */
export async function* evaluateImages(
  name: string,
  settings: ImageEvaluation,
  { origin, ranks, ...context }: StageContext & { origin: Origin; ranks?: ProcessGroup | undefined },
) {
  const { config, split, limit, workers, skipBad, batch, imageColumn, labelColumn, classOrder, keep, report } =
    settings;
  if (report !== undefined && isFirst(ranks)) await makeRunFolder(report);
  const source = yield* fetchModel(name, context);
  const data = yield* fetchDataset({ name: settings.dataset, config, splits: [split] }, context);
  const model = await sized(classifier(yield* load(source.folder, { keep }), name), settings.size);
  try {
    const { cache, signal } = context;
    const columns = { imageColumn, labelColumn, classOrder };
    const place = { dataset: data.folder, config, split, ...columns, limit, cache, signal };
    const own = imageSettings(model);
    const images = numberedAs(yield* openedImages(place), classOrder === undefined ? own.labels : undefined);
    const prepared = evaluationOptions(settings, own);
    const preparation = { ...prepared, size: settings.size ?? prepared.size };
    const loader = imageLoader(images, { ...preparation, workers, skipBad });
    try {
      const options = {
        loader,
        ranks,
        signal,
        ...(batch !== undefined && { batch }),
        ...(limit !== undefined && { limit }),
      };
      const { confusion, ...score } = yield* scoreImages(model, options);
      const faults = await imageFaults(loader, { ranks, signal });
      const classes = classNames(images, own);
      const result = {
        ...{ model: name, ...given({ keep }), dataset: settings.dataset, config, split: images.split },
        ...{ revision: source.revision, datasetRevision: data.revision },
        ...score,
        relativeFlops: await relativeFlopsOf(model),
        ...preparation,
        ...engineFacts(origin),
        skippedImages: faults.skipped,
        classOrder: classOrder ?? images.classOrder,
        notes: [classOrderNotice(images), clippedNotice(faults)].filter((text) => text !== undefined),
      };
      const { seconds } = score;
      const scored = rowOfImages({ ...score, confusion }, preparation);
      const evaluated = { model, source, scored, seconds };
      const told = { result, confusion, classes, source, data, origin, evaluated };
      if (isFirst(ranks)) {
        if (report !== undefined) await writeEvaluation(report, told);
        if (settings.results !== undefined) await writeEvaluationResults(settings.results, evaluated, factsOf(told));
      }
      return { ...result, confusions: confusionsOf(confusion, classes) };
    } finally {
      await loader.close();
    }
  } finally {
    model.dispose();
  }
}

export type EvaluatedImages = StageResult<typeof evaluateImages>;

function classifier(model: Model, name: string): Model {
  if (isClassifier(model)) return model;
  const { type } = model.architecture;
  model.dispose();
  throw new StageError(`${name} is a ${type}, not an image classifier; use eval ppl for language models`);
}

/**
 * The model for images of another size. The positions of a vision transformer are interpolated; other models are
 * unchanged and accept or refuse the size when they are applied.
 */
async function sized(model: Model, size: number | undefined): Promise<Model> {
  const { task } = model.architecture;
  const hasPositions = task.kind === "image-classification" && task.positions !== undefined;
  return size !== undefined && hasPositions ? resizePositions(model, size) : model;
}

/**
 * The entries of the confusion matrix that are not 0: a class, the predicted class (`taken`), and the number of images.
 */
function confusionsOf(confusion: Uint32Array, classes: readonly string[]) {
  const pairs: { class: string; taken: string; images: number }[] = [];
  confusion.forEach((images, i) => {
    const [row, column] = [Math.floor(i / classes.length), i % classes.length];
    if (images > 0) pairs.push({ class: classes[row] as string, taken: classes[column] as string, images });
  });
  return pairs;
}

interface Evaluation {
  result: Omit<EvaluatedImages, "confusions">;
  confusion: Uint32Array;
  classes: readonly string[];
  source: Source;
  data: Source;
  origin: Origin;
  evaluated: Evaluated;
}

function factsOf({ result, source, data, origin }: Evaluation): EvaluationFacts {
  const { config, split, keep, size, images, skipped, transform, mean, std } = result;
  return {
    ...{ name: evaluationTitle(result), recipe: "eval acc", source, data, config, split, origin },
    settings: { ...transform, ...given({ keep }), size, images, skipped, mean: [...mean], std: [...std] },
  };
}

/** Writes a run folder with the row of the evaluation, its confusion matrix, and the report. */
async function writeEvaluation(folder: string, evaluation: Evaluation): Promise<void> {
  const { result, confusion, classes, evaluated } = evaluation;
  const { top1, top5, loss, split } = result;
  await startRun(folder, await evaluationFacts(evaluated.model, factsOf(evaluation)));
  await writeComparison(folder, [await evaluationRow(evaluated)]);
  await writeClassification(folder, {
    classes: [...classes],
    splits: { [split]: { top1, top5, loss } },
    confusion: confusionRows({ confusion, classes: classes.length }),
  });
  await updateRun(folder, { status: "finished" });
  await writeReport(folder);
}

/** The entries that have a value. */
const given = <Name extends string, Value>(
  values: Readonly<Record<Name, Value | undefined>>,
): Partial<Record<Name, Value>> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<Record<Name, Value>>;

/** The title of an evaluation: `model on data set, configuration, split`. */
export const evaluationTitle = ({
  model,
  keep,
  dataset,
  config,
  split,
}: {
  model: string;
  keep?: number | undefined;
  dataset: string;
  config?: string | undefined;
  split: string;
}): string => `${cutName(model, keep)} on ${dataset}${config === undefined ? "" : `, ${config}`}, ${split}`;
