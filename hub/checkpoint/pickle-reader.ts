// Reads numbers, strings and bytes from a pickle: a cursor whose reads are checked against the end, and the opcodes
// that push one literal value (Python's pickletools.py documents their encodings).

import { Buffer } from "node:buffer";
import type { Fail } from "../files/byte-source.ts";
import type { PickleValue } from "./pickle-values.ts";

/** The bytes end inside the pickle. Reading may succeed with more bytes of the file. */
export class EndOfPickle extends Error {
  override readonly name = "EndOfPickle";
}

/** A cursor over the bytes of a pickle. Its methods throw EndOfPickle. Integers are little-endian. */
export class PickleReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at: number;

  constructor(bytes: Uint8Array, start = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = start;
  }

  /** number of bytes read, from the start of the array */
  get position(): number {
    return this.#at;
  }

  /**
   * Skips bytes.
   * @returns their position
   */
  #advance(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.length - at) throw new EndOfPickle(`ends at byte ${this.#bytes.length}`);
    this.#at = at + length;
    return at;
  }

  uint8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  uint16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  uint32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  int32(): number {
    return this.#view.getInt32(this.#advance(4), true);
  }

  /** a length. Values above 2^53 are inexact, but no file is that long */
  uint64(): number {
    return Number(this.#view.getBigUint64(this.#advance(8), true));
  }

  /** a double. Doubles are the only big-endian values of a pickle */
  float64(): number {
    return this.#view.getFloat64(this.#advance(8), false);
  }

  /** a copy of the bytes */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const at = this.#advance(length);
    return this.#bytes.slice(at, at + length);
  }

  utf8(length: number): string {
    return new TextDecoder().decode(this.bytes(length));
  }

  latin1(length: number): string {
    return Buffer.from(this.bytes(length)).toString("latin1");
  }

  /** The text up to the next newline, which is skipped. */
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end === -1) throw new EndOfPickle(`ends at byte ${this.#bytes.length}`);
    const text = this.utf8(end - this.#at);
    this.#at++;
    return text;
  }

  /** A signed little-endian integer of `length` bytes. */
  long(length: number): bigint {
    const bytes = this.bytes(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] as number);
    return BigInt.asIntN(8 * length, value);
  }
}

/** Longest integer, in bytes, that is accepted. */
const MAX_INTEGER_BYTES = 512;
/** The opcode that is written as an ASCII character. */
export const code = (character: string): number => character.charCodeAt(0);

/** Reads the value of an opcode that pushes a literal. Undefined for other opcodes. */
export function literal(opcode: number, reader: PickleReader, fail: Fail): PickleValue | undefined {
  switch (opcode) {
    case code("N"):
      return null;
    case 0x88:
    case 0x89:
      return opcode === 0x88;
    case code("J"):
      return reader.int32();
    case code("K"):
      return reader.uint8();
    case code("M"):
      return reader.uint16();
    case code("G"):
      return reader.float64();
    case 0x8a:
      return long(reader, reader.uint8(), fail);
    case 0x8b:
      return long(reader, reader.uint32(), fail);
    case code("I"):
    case code("L"):
      return parsed(parseInteger(reader.line()), "integer", fail);
    case code("F"):
      return parsed(parseFloat64(reader.line()), "number", fail);
    case code("S"):
      return parsed(parseQuoted(reader.line()), "string", fail);
    case code("V"):
      return parseRawUnicode(reader.line());
    case code("T"):
      return reader.latin1(reader.uint32());
    case code("U"):
      return reader.latin1(reader.uint8());
    case code("X"):
      return reader.utf8(reader.uint32());
    case 0x8c:
      return reader.utf8(reader.uint8());
    case 0x8d:
      return reader.utf8(reader.uint64());
    case code("B"):
      return reader.bytes(reader.uint32());
    case code("C"):
      return reader.bytes(reader.uint8());
    case 0x8e:
    case 0x96:
      return reader.bytes(reader.uint64());
    default:
      return undefined;
  }
}

function long(reader: PickleReader, length: number, fail: Fail): PickleValue {
  if (length > MAX_INTEGER_BYTES)
    throw fail(`has an integer of ${length} bytes; at most ${MAX_INTEGER_BYTES} are accepted`);
  return integer(reader.long(length));
}

function parsed(value: PickleValue | undefined, kind: string, fail: Fail): PickleValue {
  if (value === undefined) throw fail(`has an invalid ${kind}`);
  return value;
}

/** A number if the value is a safe integer, otherwise a bigint. */
function integer(value: bigint): number | bigint {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

/** Parses a decimal integer; `00` and `01` are Python's False and True. Undefined if it is invalid. */
function parseInteger(line: string): PickleValue | undefined {
  if (line === "00" || line === "01") return line === "01";
  const digits = line.trim().replace(/L$/, "");
  return /^[+-]?\d{1,400}$/.test(digits) ? integer(BigInt(digits.replace(/^\+/, ""))) : undefined;
}

/** Parses a float. Undefined if it is invalid. */
function parseFloat64(line: string): number | undefined {
  const text = line.trim().toLowerCase();
  const named: Record<string, number> = { inf: Infinity, "-inf": -Infinity, nan: NaN, "-nan": NaN };
  if (Object.hasOwn(named, text)) return named[text];
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(text) ? Number(text) : undefined;
}

const ESCAPES: Record<string, string> = { n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", f: "\f", v: "\v" };

/**
 * Parses a quoted Python string.
 * @returns undefined if the line is not quoted
 */
function parseQuoted(line: string): string | undefined {
  const text = line.trim();
  const quoteMark = text[0];
  if (text.length < 2 || (quoteMark !== "'" && quoteMark !== '"') || !text.endsWith(quoteMark)) return undefined;
  return text.slice(1, -1).replace(/\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)/g, (_, written: string) => {
    if (/^x./.test(written)) return String.fromCharCode(Number.parseInt(written.slice(1), 16));
    if (/^[0-7]/.test(written)) return String.fromCharCode(Number.parseInt(written, 8));
    return ESCAPES[written] ?? written;
  });
}

/** Replaces \uXXXX and \UXXXXXXXX by the characters that they stand for. */
function parseRawUnicode(line: string): string {
  return line.replace(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g, (all, short?: string, long?: string) => {
    const code = Number.parseInt(short ?? long ?? "", 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : all;
  });
}
