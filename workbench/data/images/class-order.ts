// Which number a class has, where a data set has only its name: by the model's labels, else by the name where names are the
// numbers 0 … n - 1, else by the order of text, as torchvision's ImageFolder has it.

import { Buffer } from "node:buffer";
import { DataError } from "../errors.ts";

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
