// The classes of an image set from what its labels are: numbers of declared classes, plain numbers, or names.

import { DataError, listed } from "../errors.ts";
import type { RawLabel } from "./parquet-columns.ts";

export interface Labels {
  labels: Int32Array<ArrayBuffer>;
  classes: readonly string[];
  declared: boolean;
}

export interface LabelsOptions {
  /** in the order of their numbers, where the data set says it */
  declared: readonly string[] | undefined;
  /** in the order of their numbers, where labels are names of another split's or a model's classes */
  wanted: readonly string[] | undefined;
  /** how messages name the data set */
  dataset: string;
  /** how they name image i */
  nameOf(i: number): string;
}

/** @throws DataError on a label that is no class */
export function labelsOf(raw: readonly RawLabel[], { declared, wanted, dataset, nameOf }: LabelsOptions): Labels {
  const names = raw.filter((label) => typeof label === "string");
  if (names.length === raw.length) {
    const classes = wanted ?? declared ?? (namesIn(names) as string[]);
    const numbers = new Map(classes.map((name, i) => [name, i]));
    const labels = Int32Array.from(names, (name, i) => numbers.get(name) ?? unknown(nameOf(i), name, classes));
    return { labels, classes, declared: true };
  }
  if (names.length > 0) throw new DataError(dataset, "some of its labels are numbers and some are names");
  const numbers = raw as readonly number[];
  const least = numbers.findIndex((label) => label < 0);
  if (least >= 0) {
    const label = numbers[least];
    throw new DataError(nameOf(least), `has label ${label}: this split has no labels; choose one that has`);
  }
  const most = numbers.reduce((sofar, label) => Math.max(sofar, label), -1);
  const classes = declared ?? Array.from({ length: most + 1 }, (_, i) => String(i));
  const above = numbers.findIndex((label) => label >= classes.length);
  if (above >= 0) unknown(nameOf(above), numbers[above] as number, classes);
  return { labels: Int32Array.from(numbers), classes, declared: declared !== undefined };
}

/** The names that labels are, each once, in byte order; nothing where some are none. */
export function namesIn(raw: readonly RawLabel[]): string[] | undefined {
  if (raw.some((label) => typeof label !== "string")) return undefined;
  return [...new Set(raw as readonly string[])].sort();
}

function unknown(image: string, label: RawLabel, classes: readonly string[]): never {
  throw new DataError(
    image,
    `has label ${JSON.stringify(label)}, which is none of the ${classes.length} classes: ${listed(classes)}`,
  );
}
