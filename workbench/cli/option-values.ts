// Numbers on a command line: what each kind of option takes, and what is said when it is not that.

import { InvalidArgumentError } from "commander";

/** A whole number. */
export const countFrom =
  (least: number) =>
  (text: string): number => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least}.`);
  };

/** Any finite number. */
export const numberFrom =
  (least: number) =>
  (text: string): number => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isFinite(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a number from ${least}.`);
  };

/** Above 0 and at most 1. */
export function share(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 1) return value;
  throw new InvalidArgumentError("It must be above 0 and at most 1, e.g. 0.35.");
}
