// The one error of safetensors files: which file, which tensor, what is wrong.

import { FileError } from "../files/file-error.ts";

/** A file that breaks the format, is not there, or lacks what was asked of it. */
export class SafetensorsError extends FileError {
  override readonly name = "SafetensorsError";
}
