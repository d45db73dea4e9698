// The one error of PyTorch checkpoints: which file, which tensor, what is wrong. Messages are one line.

import { type ErrorPlace, quote } from "../safetensors/errors.ts";

/** A file that is no checkpoint, is damaged, or asks for what a reader must not do. */
export class CheckpointError extends Error {
  override readonly name = "CheckpointError";
  readonly file: string;
  readonly tensor: string | undefined;

  constructor(
    /** a clause about the tensor, or about the file where no tensor is named */
    problem: string,
    { file, tensor }: ErrorPlace,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${tensor === undefined ? "" : `tensor ${quote(tensor)}: `}${problem}`, options);
    this.file = file;
    this.tensor = tensor;
  }
}
