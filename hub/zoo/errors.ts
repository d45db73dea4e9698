// The one error of the zoo: what was asked for, what is wrong with it.

import { FileError } from "../file-error.ts";

/** Something of the zoo that is not there, or does not come. */
export class ZooError extends FileError {
  override readonly name = "ZooError";
}
