// The header of a safetensors file, and all the rules of the format (github.com/huggingface/safetensors, "Format").
// The functions get bytes and sizes; they read no files.
//
// A file is 8 bytes (the length N of the header, unsigned, little-endian), N bytes of JSON, and the buffer with all
// tensors. The header MUST start with `{`, be UTF-8 and not repeat a key; it MAY end with spaces. The bytes of each
// tensor MUST match its dtype and shape; together they MUST cover the buffer from its start, without overlaps and
// gaps.

import { quote } from "../files/file-error.ts";
import { isJsonObject } from "../text/json.ts";
import {
  byteLengthOf,
  FILE_DTYPES,
  type FileDtype,
  lengthProblem,
  SafetensorsError,
  type TensorInfo,
} from "./types.ts";

/** Bytes in front of the header. */
export const PREFIX_BYTES = 8;
/** Longest header, in bytes, that the format allows. The limit protects readers from parsing gigabytes. */
export const MAX_HEADER_BYTES = 100_000_000;
/** Key of the metadata in the header. No tensor can have this name. */
export const METADATA = "__metadata__";

/** A tensor and its place in the buffer. */
export interface PlacedTensor extends TensorInfo {
  /** first byte, from the start of the buffer */
  start: number;
  /** exclusive */
  end: number;
}

/** A header that follows all rules. */
export interface Header {
  metadata: ReadonlyMap<string, string>;
  /** ordered by position */
  tensors: ReadonlyMap<string, PlacedTensor>;
}

/**
 * Reads the length of the header, in bytes.
 * @param prefix the first 8 bytes of the file
 * @throws SafetensorsError when the length exceeds the file or the limit
 */
export function headerLength(prefix: Uint8Array, { file, fileSize }: { file: string; fileSize: number }): number {
  if (fileSize < PREFIX_BYTES) {
    throw new SafetensorsError(
      `is ${fileSize} bytes long, shorter than the 8 bytes that hold the length of the header`,
      {
        file,
      },
    );
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    throw new SafetensorsError(`header of ${length} bytes is longer than ${MAX_HEADER_BYTES}`, { file });
  }
  if (PREFIX_BYTES + Number(length) > fileSize) {
    throw new SafetensorsError(`header of ${length} bytes does not fit in a file of ${fileSize} bytes`, { file });
  }
  return Number(length);
}

/**
 * Parses and checks the header.
 * @param bufferSize bytes of the file after the header
 * @throws SafetensorsError when the header breaks a rule of the format
 */
export function parseHeader(bytes: Uint8Array, { file, bufferSize }: { file: string; bufferSize: number }): Header {
  const entries = parseJson(bytes, file);
  const metadata = new Map<string, string>();
  const tensors: [string, PlacedTensor][] = [];
  for (const [name, entry] of entries) {
    if (name === METADATA) readMetadata(entry, { file, into: metadata });
    else tensors.push([name, readEntry(entry, { file, tensor: name, bufferSize })]);
  }
  tensors.sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  checkCover(tensors, { file, bufferSize });
  return { metadata, tensors: new Map(tensors) };
}

function parseJson(bytes: Uint8Array, file: string): [string, unknown][] {
  if (bytes[0] !== "{".charCodeAt(0)) throw new SafetensorsError("header must begin with {", { file });
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new SafetensorsError("header is not UTF-8", { file }, { cause: error });
  }
  let value: object;
  try {
    value = JSON.parse(text) as object;
  } catch (error) {
    throw new SafetensorsError("header is not JSON", { file }, { cause: error });
  }
  const { duplicate, fraction } = scanJson(text);
  if (duplicate) throw namedTwice(duplicate, file);
  if (fraction) throw new SafetensorsError("numbers must be plain integers", placeOf(fraction, file));
  return Object.entries(value);
}

function placeOf([name]: string[], file: string): { file: string; tensor?: string } {
  return name === undefined || name === METADATA ? { file } : { file, tensor: name };
}

function namedTwice(path: string[], file: string): SafetensorsError {
  const key = path.at(-1) as string;
  if (path.length === 1) return new SafetensorsError(`${quote(key)} appears twice`, { file });
  const where = path[0] === METADATA ? "metadata " : "";
  return new SafetensorsError(`${where}${quote(key)} appears twice`, placeOf(path, file));
}

function readMetadata(entry: unknown, { file, into }: { file: string; into: Map<string, string> }): void {
  if (!isJsonObject(entry)) throw new SafetensorsError(`${METADATA} must map strings to strings`, { file });
  for (const [key, value] of Object.entries(entry)) {
    if (typeof value !== "string") {
      throw new SafetensorsError(`metadata ${quote(key)} must be a string, is ${show(value)}`, { file });
    }
    into.set(key, value);
  }
}

interface EntryPlace {
  file: string;
  tensor: string;
  bufferSize: number;
}

function readEntry(entry: unknown, { bufferSize, ...place }: EntryPlace): PlacedTensor {
  const fail = (problem: string) => new SafetensorsError(problem, place);
  if (!place.tensor.isWellFormed()) throw fail("the name is not well-formed Unicode");
  if (!isJsonObject(entry)) throw fail(`must be an object, is ${show(entry)}`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isDtype(dtype)) {
    throw fail(`dtype ${show(dtype)} is not one of ${FILE_DTYPES.join(" ")}`);
  }
  if (!isSizes(shape)) throw fail(`shape must be a list of non-negative integers, is ${show(shape)}`);
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw fail(`data_offsets must be two non-negative integers, are ${show(offsets)}`);
  }
  const [start, end] = offsets as [number, number];
  if (start > end) throw fail(`data_offsets begin at ${start}, after their end at ${end}`);
  if (end > bufferSize) throw fail(`data_offsets end at ${end}, outside the buffer of ${bufferSize} bytes`);
  const byteLength = byteLengthOf(dtype, shape);
  if (byteLength === undefined) throw fail(lengthProblem(dtype, shape));
  if (byteLength !== end - start) {
    throw fail(`${dtype} ${show(shape)} needs ${byteLength} bytes, data_offsets give ${end - start}`);
  }
  return { dtype, shape, byteLength, start, end };
}

function checkCover(
  tensors: readonly [string, PlacedTensor][],
  { file, bufferSize }: { file: string; bufferSize: number },
): void {
  let covered = 0;
  let previous = "";
  for (const [tensor, { start, end }] of tensors) {
    if (start < covered) throw new SafetensorsError(`its bytes overlap those of ${quote(previous)}`, { file, tensor });
    if (start > covered) {
      throw new SafetensorsError(`bytes ${covered} to ${start} before it belong to no tensor`, { file, tensor });
    }
    covered = end;
    previous = tensor;
  }
  if (covered < bufferSize) {
    throw new SafetensorsError(`the last ${bufferSize - covered} bytes belong to no tensor`, { file });
  }
}

function isDtype(value: unknown): value is FileDtype {
  return (FILE_DTYPES as readonly unknown[]).includes(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function show(value: unknown): string {
  if (value === undefined) return "missing";
  if (typeof value === "string") return quote(value);
  let text: string;
  try {
    text = JSON.stringify(value);
  } catch {
    return "nested too deeply"; // deeper than the stack allows
  }
  return text.length > 100 ? `${text.slice(0, 100)}…` : text.replaceAll(",", ", ");
}

/** What `scanJson` finds. */
export interface JsonFindings {
  /** path of the first repeated key */
  duplicate?: string[];
  /** path of the first number that is not written as a plain integer (1e3, 2.0, -0) */
  fraction?: string[];
}

interface Level {
  /** keys so far; undefined for an array */
  keys: Set<string> | undefined;
  /** the key whose value is being scanned */
  key: string | undefined;
}

/**
 * Finds what JSON.parse hides: repeated keys, and numbers that are not written as plain integers.
 * @param text JSON that JSON.parse accepts; the syntax is not checked again
 */
export function scanJson(text: string): JsonFindings {
  const findings: JsonFindings = {};
  const levels: Level[] = [];
  const path = () => levels.flatMap(({ key }) => (key === undefined ? [] : [key]));
  let expectsKey = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at] as string;
    if (character === '"') {
      const end = endOfString(text, at);
      const level = levels.at(-1);
      if (expectsKey && level?.keys) {
        level.key = JSON.parse(text.slice(at, end)) as string;
        if (level.keys.has(level.key)) findings.duplicate ??= path();
        level.keys.add(level.key);
        expectsKey = false;
      }
      at = end - 1;
    } else if (character === "{" || character === "[") {
      levels.push({ keys: character === "{" ? new Set() : undefined, key: undefined });
      expectsKey = character === "{";
    } else if (character === "}" || character === "]") {
      levels.pop();
      expectsKey = false;
    } else if (character === ",") {
      expectsKey = levels.at(-1)?.keys !== undefined;
    } else if (character === "." || character === "-" || isExponent(text, at)) {
      findings.fraction ??= path();
    }
  }
  return findings;
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

/** Whether the character is the exponent of a number such as 1e3, not the e of true. */
function isExponent(text: string, at: number): boolean {
  const character = text[at];
  return (character === "e" || character === "E") && /\d/.test(text[at - 1] ?? "");
}
