// Labels and names of the classes of an image set.
//
// Labels that are numbers are used as they are. Labels that are names are replaced by their positions in a list of
// classes. The list is, in this order of preference: the classes of the model or of another split, if given; the
// classes that the data set declares; the sorted names. Names are sorted as numbers if they are 0 … n − 1, otherwise as
// text, as torchvision's ImageFolder does.

import { Buffer } from "node:buffer";
import { DataError, listed } from "../../errors.ts";
import type { ImageClasses, ImageSet } from "../types.ts";
import type { RawLabel } from "./parquet-columns.ts";

interface Labels {
  labels: Int32Array<ArrayBuffer>;
  classes: readonly string[];
  declared: boolean;
  /** what determined the labels, if neither the data set nor the order of the names as text */
  classOrder?: "number" | undefined;
}

interface LabelsOptions {
  /** names of the classes by label, if the data set declares them */
  declared: readonly string[] | undefined;
  /** names of the classes by label, of another split or a model */
  wanted: readonly string[] | undefined;
  /** names in the whole set, if `raw` is a part of it. Default: the names in `raw` */
  names?: readonly string[] | undefined;
  /** order of classes that are names; overrides the data set */
  order?: ClassOrder | undefined;
  /** name of the data set in messages */
  dataset: string;
  /** name of image i in messages */
  nameOf(i: number): string;
}

/** Labels of a set. @throws DataError if a label is not one of the classes, or an order is given for numbers */
export function labelsOf(raw: readonly RawLabel[], options: LabelsOptions): Labels {
  const { declared, wanted, order, dataset, nameOf } = options;
  const names = raw.filter((label) => typeof label === "string");
  if (names.length === raw.length) {
    const ordered = orderOf(names, options);
    const numbers = new Map(ordered.classes.map((name, i) => [name, i]));
    const labels = Int32Array.from(
      names,
      (name, i) => numbers.get(name) ?? unknownLabel(nameOf(i), name, ordered.classes),
    );
    return { labels, ...ordered };
  }
  if (names.length > 0) throw new DataError(dataset, "some of its labels are numbers and some are names");
  if (order !== undefined && wanted === undefined) {
    throw new DataError(dataset, "its labels are numbers, which cannot be reordered; leave out --class-order");
  }
  const numbers = raw as readonly number[];
  const least = numbers.findIndex((label) => label < 0);
  if (least >= 0) noLabels(nameOf(least), numbers[least] as number);
  const most = numbers.reduce((sofar, label) => Math.max(sofar, label), -1);
  const classes = declared ?? Array.from({ length: most + 1 }, (_, i) => String(i));
  const above = numbers.findIndex((label) => label >= classes.length);
  if (above >= 0) unknownLabel(nameOf(above), numbers[above] as number, classes);
  return { labels: Int32Array.from(numbers), classes, declared: declared !== undefined };
}

/** The classes of labels that are names, in the order of their labels. */
function orderOf(
  labels: readonly string[],
  { declared, wanted, names = labels, order, dataset }: LabelsOptions,
): Omit<Labels, "labels"> {
  const given = wanted ?? (order === undefined ? declared : undefined);
  if (given !== undefined) return { classes: given, declared: true };
  return orderedClasses(declared ?? names, { order, dataset });
}

/** @throws DataError, always: a label below 0 stands for none */
export function noLabels(image: string, label: number): never {
  throw new DataError(image, `has label ${label}, so this split has no labels; choose one that has`);
}

/** @throws DataError, always: the label of an image is none of the classes */
export function unknownLabel(image: string, label: RawLabel, classes: readonly string[]): never {
  throw new DataError(
    image,
    `has label ${JSON.stringify(label)}, which is none of the ${classes.length} classes: ${listed(classes)}`,
  );
}

/** Orders of classes that are names. */
export const CLASS_ORDERS = ["text", "number"] as const;
/** Order of classes that are names: as text, or as numbers. */
export type ClassOrder = (typeof CLASS_ORDERS)[number];

interface OrderedClasses {
  /** names by label */
  classes: string[];
  /**
   * whether these are all classes. False for names that are numbers with gaps, because the last numbers may be missing
   * too
   */
  declared: boolean;
  /** set if the classes are sorted as numbers and this differs from the order as text */
  classOrder?: "number";
}

/**
 * Orders names of classes.
 * @param names may contain duplicates
 * @param options.order Default `number` if the names are 0 … n − 1, else `text`
 * @throws DataError if `order` is `number` and a name is not a number
 */
export function orderedClasses(
  names: readonly string[],
  { order, dataset }: { order?: ClassOrder | undefined; dataset: string },
): OrderedClasses {
  const sorted = sortedNames(names);
  const isCount = sorted.every((name) => isNumber(name) && Number(name) < sorted.length);
  const text = { classes: sorted, declared: true };
  if (order === "text" || (order === undefined && !isCount)) return text;
  const other = sorted.find((name) => !isNumber(name));
  if (other !== undefined) {
    throw new DataError(dataset, `class ${JSON.stringify(other)} is not a number; use --class-order text`);
  }
  const most = sorted.reduce((most, name) => Math.max(most, Number(name)), -1);
  const classes = Array.from({ length: most + 1 }, (_, i) => String(i));
  const isText = classes.length === sorted.length && classes.every((name, i) => name === sorted[i]);
  return isText ? text : { classes, declared: isCount, classOrder: "number" };
}

/** Whether a name is a number below a million. Leading zeros are not accepted, because `01` and `1` would be equal. */
const isNumber = (name: string): boolean => /^(0|[1-9]\d{0,5})$/.test(name);

/** Distinct names, sorted by code points as in Python. */
export const sortedNames = (names: readonly string[]): string[] =>
  [...new Set(names)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

interface ExpectClassesOptions {
  /** outputs of the head */
  classes: number;
  /** number of images whose labels are checked. Default: all */
  limit?: number;
  /** advice at the end of the error message */
  advice?: string;
}

/**
 * Checks that the classes of a set are those of a model's head. If a set declares no classes, its labels must be below
 * the number of classes of the head.
 * @throws DataError if they are not
 */
export function expectClasses(
  images: ImageSet,
  { classes, limit = images.length, advice = ADVICE }: ExpectClassesOptions,
): void {
  expectHead(images, { classes, advice });
  for (let i = 0; i < Math.min(limit, images.length); i++) {
    const label = images.label(i);
    if (label < classes) continue;
    throw new DataError(
      images.nameOf(i),
      `has label ${label}, and the model's head has ${classes} classes, 0 to ${classes - 1}; ${advice}`,
    );
  }
}

const ADVICE = "choose a model trained on these classes";

/** Checks that a data set declares as many classes as a model's head has, or none. @throws DataError if it does not */
export function expectHead(
  images: ImageClasses,
  { classes, advice = ADVICE }: Pick<ExpectClassesOptions, "classes" | "advice">,
): void {
  if (!images.declared || images.classes.length === classes) return;
  const has = `has ${images.classes.length} classes and the model's head ${classes}`;
  throw new DataError(images.dataset, `${has}; ${advice}`);
}

/**
 * Relabels a set with a model's labels for classes of the same names, so that a folder that lacks some classes, or
 * lists them in another order, is scored correctly.
 * @param names names of the model's classes by label
 * @returns the relabeled set if all of its classes are among the model's, else the set itself: other names may mean
 *   the same classes, such as ImageNet's `n01440764` and `tench`. Duplicate names are not matched.
 */
export function numberedAs(images: ImageSet, names: readonly string[] | undefined): ImageSet {
  const found = renumbered(images, names);
  if (!found) return images;
  const { numbers, ...classes } = found;
  return { ...images, ...classes, label: (i) => numbers[images.label(i)] as number };
}

interface Renumbered extends Pick<ImageClasses, "classes" | "classOrder"> {
  /** number in the model by label */
  numbers: readonly number[];
}

/** A model's labels of classes; undefined if they are as they should be, or not all of them are among the model's. */
export function renumbered(
  { classes, declared }: Pick<ImageClasses, "classes" | "declared">,
  names: readonly string[] | undefined,
): Renumbered | undefined {
  if (names === undefined || !declared) return undefined;
  const numbers = new Map(names.map((name, number) => [name, number]));
  const own = classes.map((name) => numbers.get(name));
  const isPartOf = numbers.size === names.length && new Set(own).size === own.length && !own.includes(undefined);
  if (!isPartOf || (own.length === names.length && own.every((number, i) => number === i))) return undefined;
  const inText = sortedNames(classes).every((name, i) => numbers.get(name) === i);
  return { classes: names, classOrder: inText ? undefined : "model", numbers: own as number[] };
}
