// The error class of data sets, tokenizers and token files, and helpers for its messages.

import { reason } from "../../hub/files/byte-source.ts";
import { FileError } from "../../hub/files/file-error.ts";

/** An error about a file or folder of data. The message names the file, what is wrong and what to do. */
export class DataError extends FileError {
  override readonly name = "DataError";

  constructor(file: string, problem: string, options?: ErrorOptions) {
    super(problem, { file }, options);
  }
}

/** A data set without the split that was asked for. */
export class MissingSplitError extends DataError {
  readonly split: string;

  /** @param clause the end of the message, e.g. ` in configuration "default"; available: train` */
  constructor(dataset: string, split: string, clause: string) {
    super(dataset, `has no split ${JSON.stringify(split)}${clause}`);
    this.split = split;
  }
}

/** Lists names for the end of a message: `a, b, c`. Lists of more than twelve are cut. */
export function listed(names: readonly string[]): string {
  const most = 12;
  if (names.length === 0) return "none";
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown}, … (${names.length} in all)` : shown;
}

/** The first line of the message of an error that the system or a library threw. */
export function why(error: unknown): string {
  return reason(error).split("\n", 1)[0] as string;
}
