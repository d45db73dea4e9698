// The one error of run folders: which file, what is wrong with it.

import { FileError } from "../../hub/files/file-error.ts";

/** A folder that holds no run, a record that cannot be written, numbers that are none. */
export class RunError extends FileError {
  override readonly name = "RunError";
}
