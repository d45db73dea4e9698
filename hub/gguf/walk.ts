// Walks over the header of a GGUF file without keeping values, and checks every count and length against the file's
// size. `@huggingface/gguf`, which reads the values afterwards, would pad a file that ends early with zeros and continue,
// and its limits allow hundreds of megabytes of values. It is given only complete headers of limited size.

import { isUtf8 } from "node:buffer";
import type { ByteSource } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { GgufError } from "./types.ts";

/** Most bytes of a header. The library holds at most 50 MB; vocabularies of 256 000 tokens need about 10 MB. */
const MAX_HEADER_BYTES = 46e6;
/** Most metadata entries. Real files have fewer than 100. */
const MAX_ENTRIES = 10_000;
/** Most tensors. Real files have fewer than 5 000. */
const MAX_TENSORS = 100_000;
/** Most elements of one array, a limit of the library. */
const MAX_ARRAY = 1_000_000;
/** Most elements of all arrays together. Bounds the memory and time for their values; Gemma's files have 1.3 million. */
const MAX_ELEMENTS = 2_000_000;
/** Longest string. The library reads strings of up to 2 MB at a time. */
const MAX_STRING_BYTES = 1_000_000;
/** Longest key or name, in bytes. The specification allows 65 535 for keys and 64 for names of tensors. */
const MAX_NAME_BYTES = 65_535;
/** GGUF's limit. */
const MAX_DIMENSIONS = 4;
/** Largest dimension, a limit of the library. */
const MAX_SIDE = 2 ** 32;

/** What the walk found. */
export interface WalkedHeader {
  /** the whole header, from the magic number on */
  bytes: Uint8Array<ArrayBuffer>;
  /**
   * Strings that the library misreads. It reads a file in pieces, and cuts off the last string of a value at the end of a
   * piece; it also drops a byte order mark (U+FEFF, a token of Llama 2) at the start of any string.
   */
  misread: MisreadString[];
}

/** A string of a metadata value. */
export interface MisreadString {
  key: string;
  /** position in an array; 0 if the value is the string itself */
  index: number;
  text: string;
}

/** Size in bytes of the metadata types of fixed size, by their number. */
const FIXED: ReadonlyMap<number, number> = new Map([
  [0, 1],
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 4],
  [5, 4],
  [6, 4],
  [7, 1],
  [10, 8],
  [11, 8],
  [12, 8],
]);
const STRING = 8;
const ARRAY = 9;

/** "GGUF" as a little-endian number. */
const MAGIC = 0x46554747;

/**
 * Checks the structure of a header.
 * @throws GgufError for a file that is not GGUF, ends early, or exceeds a limit
 */
export async function walkHeader(source: ByteSource, file: string): Promise<WalkedHeader> {
  const reader = new Reader(source, file);
  await reader.need(Math.min(24, source.size));
  if (source.size < 4 || reader.uint32() !== MAGIC) {
    throw new GgufError("is not a GGUF file: it does not begin with GGUF", { file });
  }
  await expectVersion(reader, file);
  await reader.need(16);
  const tensors = reader.count("tensors", MAX_TENSORS);
  const entries = reader.count("metadata entries", MAX_ENTRIES);
  const keys = new Set<string>();
  const misread: MisreadString[] = [];
  for (let i = 0; i < entries; i++) {
    const key = await reader.name("a metadata key", keys);
    await reader.need(4);
    // Not spread into one push: an array may have more elements than a call may have arguments.
    for (const each of await reader.value(reader.uint32(), key)) misread.push(each);
  }
  const names = new Set<string>();
  for (let i = 0; i < tensors; i++) {
    const name = await reader.name("a tensor", names);
    await reader.need(4);
    const dimensions = reader.uint32();
    if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
      const problem = `has ${dimensions} dimensions; GGUF allows 1 to ${MAX_DIMENSIONS}`;
      throw new GgufError(problem, { file, tensor: name });
    }
    await reader.need(8 * dimensions + 12);
    for (let side = 0; side < dimensions; side++) reader.count(`values in a dimension of ${quote(name)}`, MAX_SIDE);
    reader.skip(12);
  }
  return { bytes: reader.done(), misread };
}

async function expectVersion(reader: Reader, file: string): Promise<void> {
  await reader.need(4);
  const version = reader.uint32();
  if (version === 2 || version === 3) return;
  if (version === 1) {
    throw new GgufError("has version 1 of GGUF, which is no longer in use; convert the model again", { file });
  }
  if ((version & 0xffff) === 0 && version !== 0) {
    throw new GgufError("is big-endian, or damaged; only little-endian GGUF files are read", { file });
  }
  throw new GgufError(`has version ${version} of GGUF; versions 2 and 3 are read`, { file });
}

/** A position in the start of a file, of which more is read when needed. */
class Reader {
  readonly #source: ByteSource;
  readonly #file: string;
  #bytes = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;
  #elements = 0;

  constructor(source: ByteSource, file: string) {
    this.#source = source;
    this.#file = file;
  }

  /** Makes the next `length` bytes available. */
  async need(length: number): Promise<void> {
    const end = this.#at + length;
    if (end <= this.#bytes.length) return;
    if (end > this.#source.size) throw this.#fail(`ends inside its header, at byte ${this.#source.size}`);
    if (end > MAX_HEADER_BYTES) throw this.#fail(`has a header of more than ${MAX_HEADER_BYTES / 1e6} MB, the limit`);
    // Doubling keeps the number of reads small, and the memory within twice the header.
    const wanted = Math.max(end, 2 * this.#bytes.length, 2 ** 20);
    this.#bytes = await this.#source.read(0, Math.min(wanted, this.#source.size, MAX_HEADER_BYTES));
    this.#view = new DataView(this.#bytes.buffer);
  }

  skip(length: number): void {
    this.#at += length;
  }

  uint32(): number {
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  #uint64(): bigint {
    this.#at += 8;
    return this.#view.getBigUint64(this.#at - 8, true);
  }

  /** A number of things, which must be within a limit. */
  count(what: string, limit: number): number {
    const count = this.#uint64();
    if (count <= BigInt(limit)) return Number(count);
    throw this.#fail(`claims ${count} ${what}; the limit is ${limit}`);
  }

  /** A key or a tensor's name: UTF-8, not used before. */
  async name(what: string, taken: Set<string>): Promise<string> {
    const start = await this.#string(`the name of ${what}`, MAX_NAME_BYTES);
    const name = this.#textFrom(start);
    if (this.#hasMark(start)) throw this.#fail(`has ${what} ${quote(name)}, which begins with a byte order mark`);
    if (taken.has(name)) throw this.#fail(`has ${what} ${quote(name)} twice`);
    taken.add(name);
    return name;
  }

  /** The text from a position up to here. */
  #textFrom(start: number): string {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.#bytes.subarray(start, this.#at));
  }

  /** Skips a metadata value. @returns strings of it that the library misreads */
  async value(type: number, key: string): Promise<MisreadString[]> {
    const size = FIXED.get(type);
    if (type === STRING) {
      const start = await this.#string(`the value of ${quote(key)}`, MAX_STRING_BYTES);
      return [{ key, index: 0, text: this.#textFrom(start) }];
    }
    if (type === ARRAY) return this.#array(key);
    if (size === undefined) {
      throw this.#fail(`has a value of unknown type ${type} for ${quote(key)}; GGUF has types 0 to 12`);
    }
    await this.need(size);
    this.skip(size);
    return [];
  }

  async #array(key: string): Promise<MisreadString[]> {
    await this.need(12);
    const type = this.uint32();
    const count = this.count(`elements for ${quote(key)}`, MAX_ARRAY);
    this.#elements += count;
    if (this.#elements > MAX_ELEMENTS)
      throw this.#fail(`has metadata of more than ${MAX_ELEMENTS} elements, the limit`);
    const size = FIXED.get(type);
    if (size !== undefined) {
      await this.need(size * count);
      this.skip(size * count);
      return [];
    }
    if (type !== STRING) {
      const found = type === ARRAY ? "an array of arrays" : `an array of unknown type ${type}`;
      throw this.#fail(`has ${found} for ${quote(key)}; arrays of numbers, booleans and strings are read`);
    }
    const misread: MisreadString[] = [];
    for (let index = 0; index < count; index++) {
      const start = await this.#string(`an element of ${quote(key)}`, MAX_STRING_BYTES);
      if (index === count - 1 || this.#hasMark(start)) misread.push({ key, index, text: this.#textFrom(start) });
    }
    return misread;
  }

  /** Whether a string that begins here begins with a byte order mark. */
  #hasMark(start: number): boolean {
    const bytes = this.#bytes;
    return bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf && start + 2 < this.#at;
  }

  /** Skips a string. @returns the position of its first byte */
  async #string(what: string, limit: number): Promise<number> {
    if (this.#at + 8 > this.#bytes.length) await this.need(8);
    const length = this.#uint64();
    const rest = this.#source.size - this.#at;
    if (length > BigInt(rest)) {
      throw this.#fail(`claims ${length} bytes for ${what}, but ends after ${rest}; it is damaged or incomplete`);
    }
    if (length > BigInt(limit)) throw this.#fail(`has ${length} bytes for ${what}; the limit is ${limit}`);
    const start = this.#at;
    const size = Number(length);
    if (start + size > this.#bytes.length) await this.need(size);
    this.skip(size);
    if (!isUtf8(this.#bytes.subarray(start, this.#at))) throw this.#fail(`has ${what} that is not UTF-8`);
    return start;
  }

  done(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#at);
  }

  #fail(problem: string): GgufError {
    return new GgufError(problem, { file: this.#file });
  }
}
