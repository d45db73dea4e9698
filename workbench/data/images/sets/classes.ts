// The classes of an image set from what its labels are: numbers of declared classes, plain numbers, or names.

import { Buffer } from "node:buffer";
import { DataError, listed } from "../../errors.ts";
import type { ImageSet } from "../types.ts";
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

// Which number a class has, where a data set has only its name: by the model's labels, else by the name where names are the
// numbers 0 … n - 1, else by the order of text, as torchvision's ImageFolder has it.

export const CLASS_ORDERS = ["text", "number"] as const;
export type ClassOrder = (typeof CLASS_ORDERS)[number];

export interface OrderedClasses {
  /** in the order of their numbers */
  classes: string[];
  /** whether there may be no others; numbers with gaps may lack the last ones too */
  declared: boolean;
  /** what decided, where it is not the order of text */
  classOrder?: "number";
}

/**
 * @param names each once or more often
 * @param options.order asked for. Default `number` where the names are 0 … n - 1, else `text`
 * @throws DataError when they are asked to be numbers and are none
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
    throw new DataError(dataset, `class ${JSON.stringify(other)} is no number; take another --class-order than number`);
  }
  const most = sorted.reduce((most, name) => Math.max(most, Number(name)), -1);
  const classes = Array.from({ length: most + 1 }, (_, i) => String(i));
  const isText = classes.length === sorted.length && classes.every((name, i) => name === sorted[i]);
  return isText ? text : { classes, declared: isCount, classOrder: "number" };
}

/** Without leading zeros: `01` and `1` would be the same. Classes beyond a million are a mistake. */
const isNumber = (name: string): boolean => /^(0|[1-9]\d{0,5})$/.test(name);

/** Each once, by code points, as Python sorts. */
export const sortedNames = (names: readonly string[]): string[] =>
  [...new Set(names)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

// Whether a set's classes are those of a network's head.

export interface ExpectClassesOptions {
  /** of the head */
  classes: number;
  /** only the first so many images are looked at. Default all */
  limit?: number;
  /** what to do, for the error */
  advice?: string;
}

/**
 * A set that names no classes may lack the last ones.
 * @throws DataError when the set has other classes
 */
export function expectClasses(
  images: ImageSet,
  { classes, limit = images.length, advice = "choose a model trained on these classes" }: ExpectClassesOptions,
): void {
  if (images.declared && images.classes.length !== classes) {
    const has = `has ${images.classes.length} classes and the model's head ${classes}`;
    throw new DataError(images.dataset, `${has}; ${advice}`);
  }
  for (let i = 0; i < Math.min(limit, images.length); i++) {
    const label = images.label(i);
    if (label < classes) continue;
    throw new DataError(
      images.nameOf(i),
      `has label ${label}, and the model's head has ${classes} classes, 0 to ${classes - 1}; ${advice}`,
    );
  }
}

// Classes of a set under other numbers: those that a model has for the same names. A folder that lacks some classes, or a
// data set that lists them in another order, would else be scored against the wrong ones.

/**
 * @param names of a model's classes, in the order of their numbers
 * @returns the set with the model's classes, where all of its own are among them; else as it is: other names may mean the
 *   same classes, such as ImageNet's `n01440764` and `tench`, and a name that is there twice says nothing
 */
export function numberedAs(images: ImageSet, names: readonly string[] | undefined): ImageSet {
  if (names === undefined || !images.declared) return images;
  const numbers = new Map(names.map((name, number) => [name, number]));
  const own = images.classes.map((name) => numbers.get(name));
  const isPartOf = numbers.size === names.length && new Set(own).size === own.length && !own.includes(undefined);
  if (!isPartOf || (own.length === names.length && own.every((number, i) => number === i))) return images;
  const inText = sortedNames(images.classes).every((name, i) => numbers.get(name) === i);
  const classOrder = inText ? undefined : ("model" as const);
  return { ...images, classes: names, classOrder, label: (i) => own[images.label(i)] as number };
}
