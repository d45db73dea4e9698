// Computes the accuracy of an image classifier: top-1 and top-5 accuracy, the mean loss in float64, and the confusion
// matrix. A loss that is not finite is an error.

import { type Tensor2D, tensor4d } from "@tensorflow/tfjs-core";
import { expectClasses, type ImageBatch, type ImageLoader } from "../data/images/index.ts";
import { type Sharing, shared } from "../distributed/shares.ts";
import { EngineError } from "../engine/core/errors.ts";
import { classifierLogits, imageSettings, type Model } from "../models/index.ts";
import { inferenceAlike } from "./inference-alike.ts";

/** Options of `accuracy`. */
export interface AccuracyOptions extends Sharing {
  /** images, prepared as the model needs them */
  loader: ImageLoader;
  /** images per forward pass. Default 32 */
  batch?: number;
  /** number of images to score, from the start. Default: all */
  limit?: number;
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
  /** `images` is the number of images that have been read, by all processes together */
  { kind: "progress"; images: number; of: number; top1: number; loss: number } | ({ kind: "accuracy" } & Accuracy);

const TOP = 5;

/**
 * Computes the accuracy of an image classifier. The result is the same, bit by bit, whatever the number of processes that
 * share the images; progress is that of this process.
 * @throws DataError if the data set has other classes than the model's head, or an image cannot be decoded; EngineError
 *   if a loss is not finite, no image can be scored, or the model is not an image classifier; for processes as `shared`
 */
export async function* accuracy<Config>(model: Model<Config>, options: AccuracyOptions): AsyncGenerator<AccuracyEvent> {
  const { loader, limit = Number.POSITIVE_INFINITY, clock = () => performance.now() } = options;
  const { classes } = imageSettings(model);
  const of = Math.min(limit, loader.images.length);
  expectClasses(loader.images, { classes, limit: of });
  const began = clock();
  const shares = yield* shared("an evaluation", scoresOf(model, { ...options, of }), options);
  // In the order of images, as a sum of float64 depends on it.
  const scores = shares.flat().sort((a, b) => a.item - b.item);
  const confusion = new Uint32Array(classes * classes);
  let [correct, amongTop, loss] = [0, 0, 0];
  for (const score of scores) {
    loss += score.loss;
    correct += Number(score.rank === 0);
    amongTop += Number(score.rank < TOP);
    (confusion[score.label * classes + score.taken] as number)++;
  }
  const images = scores.length;
  const skipped = of - images;
  if (images === 0) {
    const why = skipped > 0 ? `all ${skipped} cannot be decoded` : "there are none";
    throw new EngineError(`${loader.images.dataset} has no image to score: ${why}`, "choose another split");
  }
  const seconds = (clock() - began) / 1000;
  const scored = { top1: correct / images, top5: amongTop / images, loss: loss / images };
  const speed = { seconds, imagesPerSecond: images / seconds };
  yield { kind: "accuracy", ...scored, images, skipped, confusion, classes, ...speed };
}

interface ImageScore {
  item: number;
  label: number;
  /** negative log-likelihood of its class, nats */
  loss: number;
  /** number of classes ranked before the right one */
  rank: number;
  /** the predicted class */
  taken: number;
}

/** The scores of this process's images. */
async function* scoresOf<Config>(
  model: Model<Config>,
  { loader, batch = 32, of, ranks, signal }: AccuracyOptions & { of: number },
): AsyncGenerator<AccuracyEvent, ImageScore[]> {
  const { classes } = imageSettings(model);
  const scores: ImageScore[] = [];
  let [correct, loss] = [0, 0];
  const prepared = await inferenceAlike(model, { ranks, signal });
  try {
    for await (const some of loader.batches({ batch, limit: of, ranks, signal })) {
      const logits = await logitsOf(prepared, some);
      for (const [row, label] of some.labels.entries()) {
        const item = some.items[row] as number;
        const score = scoreOf(logits.subarray(row * classes, (row + 1) * classes), label);
        if (!Number.isFinite(score.loss)) throw notFinite(score.loss, loader.images.nameOf(item));
        scores.push({ item, label, ...score });
        loss += score.loss;
        correct += Number(score.rank === 0);
      }
      const own = scores.length;
      const images = (some.items.at(-1) as number) + 1;
      yield { kind: "progress", images, of, top1: correct / own, loss: loss / own };
    }
  } finally {
    prepared.dispose();
  }
  return scores;
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

function scoreOf(logits: Float32Array, label: number): Pick<ImageScore, "loss" | "rank" | "taken"> {
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
