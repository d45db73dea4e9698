// Classes of a set under other numbers: those that a model has for the same names. A folder that lacks some classes, or a
// data set that lists them in another order, would else be scored against the wrong ones.

import { sortedNames } from "./class-order.ts";
import type { ImageSet } from "./types.ts";

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
