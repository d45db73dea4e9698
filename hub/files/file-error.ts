// What the errors about files have in common: which file, which part of it, what is wrong. Messages are one line.
// Each kind of file has its own subclass.

export interface ErrorPlace {
  /** path as it was given */
  file: string;
  tensor?: string;
  layer?: string;
}

export class FileError extends Error {
  readonly file: string;
  readonly tensor: string | undefined;

  constructor(
    /** a clause about the tensor or layer, or about the file where neither is named */
    problem: string,
    { file, tensor, layer }: ErrorPlace,
    options?: ErrorOptions,
  ) {
    const named = Object.entries({ tensor, layer }).find(([, name]) => name !== undefined);
    super(`${file}: ${named ? `${named[0]} ${quote(named[1] as string)}: ` : ""}${problem}`, options);
    this.file = file;
    this.tensor = tensor;
  }
}

const LONGEST_QUOTE = 200;

/** What JSON leaves as it is and terminals take for an end of line or a command. */
const CONTROLS = /[\u007f-\u009f\u2028\u2029]/g;

/** Text out of a file, in quotes, on one line and of bounded length. */
export function quote(text: string): string {
  const json = JSON.stringify(text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text);
  return json.replace(CONTROLS, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
