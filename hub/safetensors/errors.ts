// The one error of safetensors files: which file, which tensor, what is wrong. Messages are one line.

export interface ErrorPlace {
  /** path as it was given */
  file: string;
  tensor?: string;
}

/** A file that breaks the format, is not there, or lacks what was asked of it. */
export class SafetensorsError extends Error {
  override readonly name = "SafetensorsError";
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

const LONGEST_QUOTE = 200;

/** Text out of a file, in quotes, on one line and of bounded length. */
export function quote(text: string): string {
  return JSON.stringify(text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text);
}
