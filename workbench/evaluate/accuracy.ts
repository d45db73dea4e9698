// Computes the accuracy of an image classifier: top-1 and top-5 accuracy, the mean loss in float64, and the confusion
// matrix. A loss that is not finite is an error.

import { type Tensor2D, tensor4d } from "@tensorflow/tfjs-core";
import { expectClasses, type ImageBatch, type ImageLoader } from "../data/images/index.ts";
import { EngineError } from "../engine/core/errors.ts";
import { classifierLogits, forInference, imageSettings, type Model } from "../models/index.ts";

/** Options of `accuracy`. */
export interface AccuracyOptions {
  /** images, prepared as the model needs them */
  loader: ImageLoader;
  /** images per forward pass. Default 32 */
  batch?: number;
  /** number of images to score, from the start. Default: all */
  limit?: number;
  signal?: AbortSignal | undefined;
  /** clock, milliseconds. Default performance.now */
  clock?: () => number;
}

/** The accuracy of an image classifier on a data set. */
export interface Accuracy {
  /** share of images whose class has the largest logit, 0 to 1; ties go to the lower class number */
  top1: number;
  /** share of images whose class is among the five largest logits */
  top5: number;
  /** mean negative log-likelihood of an image's class, nats */
  loss: number;
  /** images that were scored */
  images: number;
  /** images that could not be decoded and were left out */
  skipped: number;
  /** (classes, classes), row by row: images of each class (row) that were predicted as each class (column) */
  confusion: Uint32Array;
  classes: number;
  seconds: number;
  imagesPerSecond: number;
}

/** Progress of the evaluation; the last event has the result. */
export type AccuracyEvent =
  | { kind: "progress"; images: number; of: number; top1: number; loss: number }
  | ({ kind: "accuracy" } & Accuracy);

const TOP = 5;

/**
 * Computes the accuracy of an image classifier.
 * @throws DataError if the data set has other classes than the model's head, or an image cannot be decoded; EngineError
 *   if a loss is not finite, no image can be scored, or the model is not an image classifier
 */
export async function* accuracy<Config>(
  model: Model<Config>,
  { loader, batch = 32, limit = Number.POSITIVE_INFINITY, signal, clock = () => performance.now() }: AccuracyOptions,
): AsyncGenerator<AccuracyEvent> {
  const { classes } = imageSettings(model);
  const of = Math.min(limit, loader.images.length);
  expectClasses(loader.images, { classes, limit: of });
  const skippedBefore = loader.skipped.length;
  const began = clock();
  const prepared = await forInference(model);
  const confusion = new Uint32Array(classes * classes);
  let [images, correct, amongTop, loss] = [0, 0, 0, 0];
  try {
    for await (const some of loader.batches({ batch, limit: of, signal })) {
      const logits = await logitsOf(prepared, some);
      for (const [row, label] of some.labels.entries()) {
        const score = scoreOf(logits.subarray(row * classes, (row + 1) * classes), label);
        if (!Number.isFinite(score.loss)) throw notFinite(score.loss, loader.images.nameOf(some.items[row] as number));
        loss += score.loss;
        correct += Number(score.rank === 0);
        amongTop += Number(score.rank < TOP);
        (confusion[label * classes + score.taken] as number)++;
      }
      images += some.items.length;
      yield { kind: "progress", images, of, top1: correct / images, loss: loss / images };
    }
  } finally {
    prepared.dispose();
  }
  const skipped = loader.skipped.length - skippedBefore;
  if (images === 0) {
    const why = skipped > 0 ? `all ${skipped} cannot be decoded` : "there are none";
    throw new EngineError(`${loader.images.dataset} has no image to score: ${why}`, "choose another split");
  }
  const seconds = (clock() - began) / 1000;
  const shares = { top1: correct / images, top5: amongTop / images, loss: loss / images };
  const speed = { seconds, imagesPerSecond: images / seconds };
  yield { kind: "accuracy", ...shares, images, skipped, confusion, classes, ...speed };
}

/** Logits, float32 (images · classes), row by row. */
async function logitsOf<Config>(model: Model<Config>, { pixels, items, size }: ImageBatch): Promise<Float32Array> {
  const input = tensor4d(pixels, [items.length, size, size, 3]);
  let logits: Tensor2D | undefined;
  try {
    logits = classifierLogits(model, input);
    return (await logits.data()) as Float32Array;
  } finally {
    input.dispose();
    logits?.dispose();
  }
}

/** The loss of one image, the number of classes ranked before the right one, and the predicted class. */
function scoreOf(logits: Float32Array, label: number): { loss: number; rank: number; taken: number } {
  const own = logits[label] as number;
  let [taken, rank] = [0, 0];
  for (let k = 0; k < logits.length; k++) {
    const value = logits[k] as number;
    if (value > (logits[taken] as number)) taken = k;
    if (value > own || (value === own && k < label)) rank++;
  }
  const most = logits[taken] as number;
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - most);
  return { loss: most + Math.log(sum) - own, rank, taken };
}

function notFinite(loss: number, image: string): EngineError {
  return new EngineError(`the loss of ${image} is ${loss}`, "check the checkpoint's values, or use float32");
}
