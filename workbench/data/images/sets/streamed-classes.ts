// Classes of a split whose labels are read while a model trains. What unstreamed sets find out from all labels must be
// known before: from the data set, which declares its classes, or from the model.

import { DataError } from "../../errors.ts";
import type { ImageClasses } from "../types.ts";
import { type ClassOrder, noLabels, orderedClasses, renumbered, sortedNames, unknownLabel } from "./classes.ts";
import type { RawLabel } from "./parquet-columns.ts";

/** What is known of the classes before labels are read. */
export interface StreamedClassesOptions {
  /** name of the data set in messages */
  dataset: string;
  /** whether labels are names, and not numbers */
  named: boolean;
  /** names of the classes by label, if the data set declares them */
  declared: readonly string[] | undefined;
  /** order of classes that are names; overrides the data set */
  classOrder?: ClassOrder | undefined;
  /** names of the model's classes by label */
  labels?: readonly string[] | undefined;
  /** number of classes of the model's head. Default: the model gets its classes from the data set */
  head?: number | undefined;
}

/** The classes, and the label of each row. */
export interface StreamedClasses extends Pick<ImageClasses, "classes" | "declared" | "classOrder"> {
  /** @throws DataError if it is none of the classes */
  labelOf(raw: RawLabel, image: string): number;
}

/** @throws DataError if the classes are not known before all labels are read, or cannot be in the order asked for */
export function streamedClasses(options: StreamedClassesOptions): StreamedClasses {
  const { dataset, named, declared, classOrder, labels, head } = options;
  if (!named && classOrder !== undefined) {
    throw new DataError(dataset, "its labels are numbers, which cannot be reordered; leave out --class-order");
  }
  const own = classOrder === undefined ? labels : undefined;
  if (declared === undefined) return named ? namedBy(own, dataset) : numberedUpTo(head, dataset);
  const ordered = classOrder === undefined ? undefined : orderedClasses(declared, { order: classOrder, dataset });
  const found = ordered ?? { classes: declared, declared: true };
  const other = renumbered(found, own);
  if (!other) return { ...found, labelOf: labelerOf(found.classes) };
  const { numbers, ...changes } = other;
  const labelOf = labelerOf(found.classes);
  return { ...found, ...changes, labelOf: (raw, image) => numbers[labelOf(raw, image)] as number };
}

/** The classes of names that the data set does not declare: those of the model. */
function namedBy(labels: readonly string[] | undefined, dataset: string): StreamedClasses {
  if (labels === undefined) {
    throw new DataError(
      dataset,
      "declares no classes, neither in its README nor in its files, and their names are known only when all are read; leave out --stream",
    );
  }
  const inText = sortedNames(labels).every((name, i) => labels[i] === name);
  return {
    classes: labels,
    declared: true,
    classOrder: inText ? undefined : "model",
    labelOf: labelerOf(labels),
  };
}

/** Numbers that have no names: as many as the model's head has. */
function numberedUpTo(head: number | undefined, dataset: string): StreamedClasses {
  if (head === undefined) {
    throw new DataError(
      dataset,
      "declares no classes, neither in its README nor in its files, and their number is known only when all are read; leave out --stream",
    );
  }
  const classes = Array.from({ length: head }, (_, i) => String(i));
  return { classes, declared: false, labelOf: labelerOf(classes) };
}

function labelerOf(classes: readonly string[]): StreamedClasses["labelOf"] {
  const numbers = new Map(classes.map((name, i) => [name, i]));
  return (raw, image) => {
    if (typeof raw === "string") return numbers.get(raw) ?? unknownLabel(image, raw, classes);
    if (raw < 0) noLabels(image, raw);
    return raw < classes.length ? raw : unknownLabel(image, raw, classes);
  };
}
