// The one error of PyTorch checkpoints: which file, which tensor, what is wrong.

import { FileError } from "../files/file-error.ts";

/** A file that is no checkpoint, is damaged, or asks for what a reader must not do. */
export class CheckpointError extends FileError {
  override readonly name = "CheckpointError";
}
