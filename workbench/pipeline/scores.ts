// How good a model is on text or on images, with its progress told, and what reports show of a classifier.

import type { ImageSet } from "../data/images/index.ts";
import { type Accuracy, type AccuracyOptions, accuracy } from "../evaluate/accuracy.ts";
import { type Perplexity, type PerplexityOptions, perplexity } from "../evaluate/perplexity.ts";
import type { ImageSettings, Model } from "../models/index.ts";
import type { ExperimentEvent } from "./events.ts";
import { lastEvent } from "./last-event.ts";

export const scoreText = (model: Model, options: PerplexityOptions): AsyncGenerator<ExperimentEvent, Perplexity> =>
  lastEvent(perplexity(model, options), "perplexity", (event) => ({ kind: "inner", of: "evaluate", event }));

export const scoreImages = (model: Model, options: AccuracyOptions): AsyncGenerator<ExperimentEvent, Accuracy> =>
  lastEvent(accuracy(model, options), "accuracy", (event) => ({ kind: "inner", of: "accuracy", event }));

/** The data set's where it names them, else the model's, else numbers. */
export function classNames({ classes, declared }: ImageSet, own: Pick<ImageSettings, "classes" | "labels">): string[] {
  const names = declared ? classes : own.labels;
  return Array.from({ length: own.classes }, (_, i) => names?.[i] ?? String(i));
}

/** Images of each class (row) that were taken for each (column). */
export const confusionRows = ({ confusion, classes }: Pick<Accuracy, "confusion" | "classes">): number[][] =>
  Array.from({ length: classes }, (_, i) => [...confusion.subarray(i * classes, (i + 1) * classes)]);
