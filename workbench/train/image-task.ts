// Image classification as a training task: mean cross-entropy, optionally with label smoothing, mixup, cutmix and
// distillation. The loader applies augmentations such as crops and flips.

import {
  add,
  dispose,
  logSoftmax,
  mean,
  mul,
  type NamedTensorMap,
  neg,
  reverse,
  type Scalar,
  sum,
  type Tensor2D,
  type Tensor4D,
  tensor,
  tensor1d,
  tensor2d,
  tensor4d,
  tidy,
} from "@tensorflow/tfjs-core";
import {
  drawMix,
  expectClasses,
  expectHead,
  type ImageBatch,
  type ImageLoader,
  type ImageStreamLoader,
  type Mix,
  type MixSettings,
} from "../data/images/index.ts";
import { seedAt } from "../engine/core/random.ts";
import { crossEntropy } from "../engine/ops/index.ts";
import { expectSetting } from "../engine/ops/operands.ts";
import { classifierLogits, imageSettings, type Model } from "../models/index.ts";
import { type TeachingOptions, taughtLoss, teachingSettings } from "./distillation.ts";
import type { ReadOptions, Settings, Task } from "./options.ts";

/** Data and losses of training a classifier. */
export interface ImageTaskOptions<Config> extends MixSettings {
  model: Model<Config>;
  /** loader of the training images, or of a stream of them, with a training transform; the caller closes it */
  loader: ImageLoader | ImageStreamLoader;
  /** share of a target's probability that is spread evenly over all classes. Default 0 */
  labelSmoothing?: number;
  /** whether the model's dropout and drop path are active. Default true */
  dropout?: boolean;
  /** stochastic depth: probability of skipping the last block. Default that of the model's config */
  dropPath?: number | undefined;
  /** teacher for distillation on the same, possibly mixed, images; it is not changed */
  teacher?: TeachingOptions & { model: Model };
  /** further settings that identify the data: data set, split, transform, the teacher's name */
  settings?: Settings;
}

/** What a task needs to know of its images. */
interface ImageSource extends Pick<Task, "position" | "settings"> {
  read(items: readonly number[], place: ReadOptions): Promise<ImageBatch>;
}

/** @throws DataError when the images have other classes than the model's head */
function sourceOf(loader: ImageLoader | ImageStreamLoader, classes: number): ImageSource {
  if (!("reader" in loader)) {
    expectClasses(loader.images, { classes });
    return { settings: {}, read: (items, { seed }) => loader.read(items, { seed }) };
  }
  const { contents: stream, shuffled } = loader.images;
  expectHead(loader.images, { classes });
  return { settings: { stream, shuffled }, ...loader.reader() };
}

/** Random stream of mixing, independent of others. */
const MIX_STREAM = 0x6d697865;

/**
 * Creates the task. An item is an image. A batch has `pixels`, float32 (items, size, size, 3), and `labels`, int32
 * (items), or, if images are mixed, `targets`, float32 (items, classes).
 * @throws DataError when the images have other classes than the model's head; ShapeError when a setting is out of range
 */
export function imageTask<Config>(options: ImageTaskOptions<Config>): Task {
  const { model, loader, labelSmoothing = 0, dropout = true, dropPath, teacher, settings = {} } = options;
  const { mixup = 0, cutmix = 0, probability = 1, switching = 0.5 } = options;
  for (const [name, value] of Object.entries({ labelSmoothing, probability, switching }))
    expectSetting("imageTask", { [name]: value }, "from 0 to 1", value >= 0 && value <= 1);
  for (const [name, value] of Object.entries({ mixup, cutmix }))
    expectSetting("imageTask", { [name]: value }, "a number, 0 or more", value >= 0 && Number.isFinite(value));
  const { classes } = imageSettings(model);
  const { read, position, settings: streamed } = sourceOf(loader, classes);
  const mixing = { mixup, cutmix, probability, switching };
  const isMixing = mixup > 0 || cutmix > 0;
  return {
    length: loader.images.length,
    ...(position && { position }),
    unit: { name: "images", perItem: 1 },
    settings: {
      size: loader.size,
      labelSmoothing,
      dropout,
      ...streamed,
      ...(isMixing && mixing),
      ...(teacher && teachingSettings(teacher)),
      ...settings,
    },
    async read(items, place): Promise<NamedTensorMap> {
      const { pixels, labels, size } = await read(items, place);
      const mix = drawMix(mixing, { size, seed: seedAt(place.seed, MIX_STREAM) });
      const images = tensor4d(pixels, [labels.length, size, size, 3]);
      if (!mix) return { pixels: images, labels: tensor1d(labels, "int32") };
      try {
        return {
          pixels: tidy(() => mixed(images, mix)),
          targets: softTargets(labels, { classes, labelSmoothing, mix }),
        };
      } finally {
        dispose(images);
      }
    },
    loss(batch, { seed }) {
      return tidy(() => {
        const pixels = batch.pixels as Tensor4D;
        const logits = classifierLogits(model, pixels, { training: true, dropPath, ...(dropout && { seed }) });
        const labels = lossOf(logits, batch, labelSmoothing);
        if (!teacher) return labels;
        return taughtLoss({ logits, labels, teacher: () => classifierLogits(teacher.model, pixels) }, teacher);
      });
    },
  };
}

function lossOf(logits: Tensor2D, { labels, targets }: NamedTensorMap, labelSmoothing: number): Scalar {
  if (labels) return mean(crossEntropy(logits, labels, { labelSmoothing }));
  return neg(mean(sum(mul(targets as Tensor2D, logSoftmax(logits)), -1)));
}

function mixed(images: Tensor4D, mix: Mix): Tensor4D {
  const partners = reverse(images, 0);
  if (mix.kind === "mixup") return add(mul(images, mix.share), mul(partners, 1 - mix.share));
  const size = images.shape[1];
  const { top, bottom, left, right } = mix.box;
  const inside = new Float32Array(size * size);
  for (let y = top; y < bottom; y++) inside.fill(1, y * size + left, y * size + right);
  const cut = tensor(inside, [1, size, size, 1]);
  const kept = tensor(
    inside.map((value) => 1 - value),
    [1, size, size, 1],
  );
  return add(mul(images, kept), mul(partners, cut));
}

function softTargets(
  labels: Int32Array,
  { classes, labelSmoothing, mix }: { classes: number; labelSmoothing: number; mix: Mix },
): Tensor2D {
  const values = new Float32Array(labels.length * classes).fill(labelSmoothing / classes);
  for (const row of labels.keys()) {
    const add = (label: number, share: number) => {
      (values[row * classes + label] as number) += share * (1 - labelSmoothing);
    };
    add(labels[row] as number, mix.share);
    add(labels[labels.length - 1 - row] as number, 1 - mix.share);
  }
  return tensor2d(values, [labels.length, classes]);
}
