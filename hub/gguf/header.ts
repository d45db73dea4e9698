// Reads the header of a GGUF file: metadata and the places of all tensors, without reading tensors. walk.ts checks its
// structure, then `@huggingface/gguf` reads it. Tensors are checked here: type, shape, alignment, and that their bytes
// lie in the file and do not overlap.

import { type GGUFParseOutput, gguf } from "@huggingface/gguf";
import type { ByteSource } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { Metadata } from "./metadata.ts";
import { describeType, GGML_TYPES, type GgmlType, GgufError } from "./types.ts";
import { type WalkedHeader, walkHeader } from "./walk.ts";

/** A tensor of a GGUF file. */
export interface GgufTensor {
  name: string;
  type: GgmlType;
  /** sizes of the dimensions, the slowest first, as in PyTorch. GGUF stores the reverse order */
  shape: readonly number[];
  /** position of the first byte in the file */
  start: number;
  /** size in bytes */
  byteLength: number;
  /** the file with the bytes; that of a model in several files differs between tensors */
  source: ByteSource;
}

/** Metadata and tensors of a model, which can be in several files. */
export interface GgufFile {
  /** path of the file, or of the first of several */
  readonly file: string;
  readonly metadata: Metadata;
  /** the tensors by name, in the order of the file */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/**
 * Reads the header of one GGUF file of version 2 or 3.
 * @param source the open file
 * @throws GgufError if it breaks a rule of the format, or has a tensor of a type that is not read
 */
export async function readHeader(source: ByteSource, file: string): Promise<GgufFile> {
  const walked = await walkHeader(source, file);
  const { bytes } = walked;
  const { metadata: values, tensorInfos } = await parse(walked, file);
  const metadata = new Metadata(values as unknown as Record<string, unknown>, file);
  const alignment = metadata.count("general.alignment") ?? 32;
  if (alignment < 1 || alignment > 2 ** 20 || (alignment & (alignment - 1)) !== 0) {
    throw metadata.fail("general.alignment", `a power of two up to ${2 ** 20}`, alignment);
  }
  const dataStart = Math.ceil(bytes.length / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const info of tensorInfos) {
    tensors.set(info.name, { ...placed(info, { file, dataStart, alignment, size: source.size }), source });
  }
  expectApart([...tensors.values()], file);
  return { file, metadata, tensors };
}

/** Reads a header with the library, which gets its bytes as ranges of an address. */
async function parse({ bytes, misread }: WalkedHeader, file: string): Promise<GGUFParseOutput> {
  const serve = async (_: unknown, init?: RequestInit) => {
    const range = new Headers(init?.headers).get("range") ?? "";
    const [, start, last] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? [];
    return new Response(bytes.slice(Number(start), Number(last) + 1));
  };
  try {
    const parsed = await gguf("https://localhost/header.gguf", { fetch: serve as typeof fetch });
    const values = parsed.metadata as unknown as Record<string, unknown>;
    for (const { key, index, text } of misread) {
      const value = Object.hasOwn(values, key) ? values[key] : undefined;
      if (Array.isArray(value)) value[index] = text;
      else if (typeof value === "string") values[key] = text;
    }
    return parsed;
  } catch (error) {
    const problem = `has a header that cannot be read: ${quote((error as Error).message)}`;
    throw new GgufError(problem, { file }, { cause: error });
  }
}

interface Place {
  file: string;
  dataStart: number;
  alignment: number;
  /** size of the file in bytes */
  size: number;
}

function placed(
  { name, shape: stored, dtype, offset }: GGUFParseOutput["tensorInfos"][number],
  { file, dataStart, alignment, size }: Place,
): Omit<GgufTensor, "source"> {
  const fail = (problem: string) => new GgufError(problem, { file, tensor: name });
  const type = GGML_TYPES.get(dtype);
  if (!type) {
    const known = Array.from(GGML_TYPES.values(), (each) => each.name).join(", ");
    throw fail(`has ${describeType(dtype)}, which is not read; types that are read: ${known}`);
  }
  const [width = 1n] = stored;
  if (stored.some((side) => side < 1n)) throw fail(`has shape [${stored.join(", ")}]; sizes must be 1 or more`);
  if (width % BigInt(type.values) !== 0n) {
    throw fail(`has rows of ${width} values, which is not a multiple of ${type.values}, the block of ${type.name}`);
  }
  const count = stored.reduce((product, side) => product * side, 1n);
  const byteLength = (count / BigInt(type.values)) * BigInt(type.bytes);
  if (offset % BigInt(alignment) !== 0n) {
    throw fail(`starts at byte ${offset} of the data, which is not a multiple of the alignment ${alignment}`);
  }
  const start = BigInt(dataStart) + offset;
  if (start + byteLength > BigInt(size)) {
    throw fail(`needs bytes ${start} to ${start + byteLength}, but the file has ${size}; it is damaged or incomplete`);
  }
  const shape = stored.map(Number).reverse();
  return { name, type, shape, start: Number(start), byteLength: Number(byteLength) };
}

function expectApart(tensors: GgufTensor[], file: string): void {
  const ordered = tensors.sort((a, b) => a.start - b.start);
  for (const [i, { name, start }] of ordered.entries()) {
    const before = ordered[i - 1];
    if (before && before.start + before.byteLength > start) {
      throw new GgufError(`overlaps the bytes of tensor ${quote(before.name)}`, { file, tensor: name });
    }
  }
}
