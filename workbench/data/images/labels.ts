// The classes of an image set from what its labels are: numbers of declared classes, plain numbers, or names.

import { DataError, listed } from "../errors.ts";
import { type ClassOrder, orderedClasses } from "./class-order.ts";
import type { RawLabel } from "./parquet-columns.ts";

export interface Labels {
  labels: Int32Array<ArrayBuffer>;
  classes: readonly string[];
  declared: boolean;
  /** what decided on the numbers, where it is not the order of text or the data set */
  classOrder?: "number" | undefined;
}

export interface LabelsOptions {
  /** in the order of their numbers, where the data set says it */
  declared: readonly string[] | undefined;
  /** in the order of their numbers, where labels are names of another split's or a model's classes */
  wanted: readonly string[] | undefined;
  /** the names of the whole set, where `raw` is only some of it. Default those in `raw` */
  names?: readonly string[] | undefined;
  /** how classes are numbered that are names, whatever the data set says */
  order?: ClassOrder | undefined;
  /** how messages name the data set */
  dataset: string;
  /** how they name image i */
  nameOf(i: number): string;
}

/** @throws DataError on a label that is no class, and on an order of numbers */
export function labelsOf(raw: readonly RawLabel[], options: LabelsOptions): Labels {
  const { declared, wanted, order, dataset, nameOf } = options;
  const names = raw.filter((label) => typeof label === "string");
  if (names.length === raw.length) {
    const ordered = orderOf(names, options);
    const numbers = new Map(ordered.classes.map((name, i) => [name, i]));
    const labels = Int32Array.from(names, (name, i) => numbers.get(name) ?? unknown(nameOf(i), name, ordered.classes));
    return { labels, ...ordered };
  }
  if (names.length > 0) throw new DataError(dataset, "some of its labels are numbers and some are names");
  if (order !== undefined && wanted === undefined) {
    throw new DataError(dataset, "its labels are numbers, which have no other order; leave out --class-order");
  }
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

function orderOf(
  labels: readonly string[],
  { declared, wanted, names = labels, order, dataset }: LabelsOptions,
): Omit<Labels, "labels"> {
  const given = wanted ?? (order === undefined ? declared : undefined);
  if (given !== undefined) return { classes: given, declared: true };
  return orderedClasses(declared ?? names, { order, dataset });
}

function unknown(image: string, label: RawLabel, classes: readonly string[]): never {
  throw new DataError(
    image,
    `has label ${JSON.stringify(label)}, which is none of the ${classes.length} classes: ${listed(classes)}`,
  );
}
