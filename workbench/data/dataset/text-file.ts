// Reads the text of a file in parts, decompressing .gz files. Text must be valid in its encoding (UTF-8 by default),
// because replacement characters would otherwise end up in the training data.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { isLfsPointer, POINTER_PROBLEM } from "../../../hub/files/byte-source.ts";
import { decodeUtf8, unfinishedBytes } from "../../../hub/text/utf8.ts";
import { DataError, why } from "../errors.ts";

interface TextPart {
  text: string;
  /** share of the file that has been read, 0 to 1 */
  fraction: number;
}

const CHUNK_BYTES = 2 ** 20;

/**
 * Reads a file as text, in parts.
 * @param options.encoding a name of the Encoding Standard, such as `windows-1252` or `utf-16le`. Default UTF-8
 * @throws DataError if the file cannot be read, is a Git LFS pointer, or is not valid in the encoding
 */
export async function* textOf(
  path: string,
  { encoding }: { encoding?: string | undefined } = {},
): AsyncGenerator<TextPart> {
  const decoder = decoderFor(path, encoding);
  for await (const { bytes, fraction } of bytesOf(path)) yield { text: decoder.push(bytes), fraction };
  yield { text: decoder.end(), fraction: 1 };
}

/** Splits a text that comes in parts into lines, including line ends; the last line may have none. */
export async function* linesOf(parts: AsyncIterable<TextPart>): AsyncGenerator<{ lines: string[]; fraction: number }> {
  let rest: string[] = [];
  for await (const { text, fraction } of parts) {
    const last = text.lastIndexOf("\n") + 1;
    if (last === 0) {
      // A line that is longer than a part is joined only once, when its end has been read.
      rest.push(text);
      continue;
    }
    const whole = rest.join("") + text.slice(0, last);
    rest = [text.slice(last)];
    yield { lines: whole.match(/[^\n]*\n/g) ?? [], fraction };
  }
  const end = rest.join("");
  if (end !== "") yield { lines: [end], fraction: 1 };
}

/** Reads bytes in parts of about a megabyte. The first part is long enough to recognize a Git LFS pointer. */
async function* bytesOf(path: string): AsyncGenerator<{ bytes: Uint8Array; fraction: number }> {
  try {
    const { size } = await stat(path);
    const file = createReadStream(path, { highWaterMark: CHUNK_BYTES });
    // The pipeline forwards errors of the file to the decompressor; the loop below throws them.
    const stream = /\.gz$/i.test(path) ? pipeline(file, createGunzip(), () => {}) : file;
    let isFirst = true;
    for await (const chunk of stream) {
      const bytes = chunk as Uint8Array;
      if (isFirst && isLfsPointer(bytes)) throw new DataError(path, POINTER_PROBLEM);
      isFirst = false;
      yield { bytes, fraction: file.bytesRead / Math.max(1, size) };
    }
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(path, `cannot be read: ${why(error)}`, { cause: error });
  }
}

interface Decoder {
  push(bytes: Uint8Array): string;
  end(): string;
}

function decoderFor(path: string, encoding: string | undefined): Decoder {
  if (encoding === undefined || /^utf-?8$/i.test(encoding)) return new Utf8Decoder(path);
  try {
    return new NamedDecoder(path, new TextDecoder(encoding, { fatal: true }));
  } catch (error) {
    const problem = `cannot be read as ${JSON.stringify(encoding)}: unknown encoding`;
    throw new DataError(path, `${problem}; try utf-8, utf-16le, utf-16be or windows-1252`, { cause: error });
  }
}

/** Byte order marks of encodings other than UTF-8. */
const OTHER_MARKS: readonly { encoding: string; mark: readonly number[] }[] = [
  { encoding: "utf-16le", mark: [0xff, 0xfe] },
  { encoding: "utf-16be", mark: [0xfe, 0xff] },
];

/** Decodes UTF-8 that comes in parts. Its errors state the position of the invalid byte. */
class Utf8Decoder implements Decoder {
  readonly #path: string;
  /** bytes of a character that continues in the next part */
  #held = new Uint8Array(0);
  #position = 0;

  constructor(path: string) {
    this.#path = path;
  }

  push(bytes: Uint8Array): string {
    const whole = this.#held.length === 0 ? bytes : joined(this.#held, bytes);
    if (this.#position === 0) this.#refuseOtherMark(whole);
    const end = whole.length - unfinishedBytes(whole);
    this.#held = Uint8Array.from(whole.subarray(end));
    return this.#decode(whole.subarray(0, end));
  }

  end(): string {
    return this.#decode(this.#held);
  }

  #decode(bytes: Uint8Array): string {
    const text = decodeUtf8(bytes, (position, found) => {
      const problem = `is not UTF-8 at byte ${this.#position + position} (${found})`;
      return new DataError(this.#path, `${problem}; convert it, or give its encoding, e.g. --encoding windows-1252`);
    });
    this.#position += bytes.length;
    return text;
  }

  #refuseOtherMark(bytes: Uint8Array): void {
    const found = OTHER_MARKS.find(({ mark }) => mark.every((byte, i) => bytes[i] === byte));
    if (!found) return;
    const problem = `is not UTF-8: it begins with the byte order mark of ${found.encoding.toUpperCase()}`;
    throw new DataError(this.#path, `${problem}; convert it, or give its encoding, --encoding ${found.encoding}`);
  }
}

/** Decodes any other encoding that comes in parts. */
class NamedDecoder implements Decoder {
  readonly #path: string;
  readonly #decoder: TextDecoder;
  #position = 0;

  constructor(path: string, decoder: TextDecoder) {
    this.#path = path;
    this.#decoder = decoder;
  }

  push(bytes: Uint8Array): string {
    const text = this.#decode(() => this.#decoder.decode(bytes, { stream: true }), bytes.length);
    this.#position += bytes.length;
    return text;
  }

  end(): string {
    return this.#decode(() => this.#decoder.decode(), 0);
  }

  #decode(decode: () => string, length: number): string {
    try {
      return decode();
    } catch (error) {
      const { encoding } = this.#decoder;
      const where = length === 0 ? `at its end` : `between byte ${this.#position} and ${this.#position + length}`;
      throw new DataError(this.#path, `is not ${encoding} ${where}; give another --encoding`, { cause: error });
    }
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}
