// The one error of model folders: where, which layer, what is wrong.

import { FileError } from "../files/file-error.ts";

/** A model that is not there, is no model, or contradicts itself. */
export class ModelError extends FileError {
  override readonly name = "ModelError";
}
