// Base class of the errors about files. A message is one line: the file, the tensor or layer, what is wrong. Each
// file format has its own subclass.

/** The file of an error, and the tensor or layer in it. */
export interface ErrorPlace {
  /** path, as the user gave it */
  file: string;
  tensor?: string;
  layer?: string;
}

/** An error about a file, or about a tensor or layer in it. */
export class FileError extends Error {
  readonly file: string;
  readonly tensor: string | undefined;

  constructor(
    /** a clause about the tensor or layer, or about the file if neither is given */
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

/** Characters that JSON leaves unescaped and terminals interpret as a line end or a control sequence. */
const CONTROLS = /[\u007f-\u009f\u2028\u2029]/g;

/** Quotes text that comes from a file or a server: on one line, without control characters, at most 200 characters. */
export function quote(text: string): string {
  const json = JSON.stringify(text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text);
  return json.replace(CONTROLS, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
