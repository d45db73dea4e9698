// The one error of data sets, tokenizers and files of token ids: which file or folder, what is wrong, what to do.

import { reason } from "../../hub/files/byte-source.ts";
import { FileError } from "../../hub/files/file-error.ts";

export class DataError extends FileError {
  override readonly name = "DataError";

  constructor(file: string, problem: string, options?: ErrorOptions) {
    super(problem, { file }, options);
  }
}

/** Names in the order given, for the end of a message: `a, b, c`. Long lists are cut. */
export function listed(names: readonly string[]): string {
  const most = 12;
  if (names.length === 0) return "none";
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown}, … (${names.length} in all)` : shown;
}

/** One line for what the system or a library threw. */
export function why(error: unknown): string {
  return reason(error).split("\n", 1)[0] as string;
}
