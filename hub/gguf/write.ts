// Writes a GGUF file of version 3, little-endian (ggml-org/ggml, docs/gguf.md). Tensors are streamed. The file is put in
// place when it is complete. `@huggingface/gguf` writes the metadata; it has no function for a whole file.

import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { type GGUFTypedMetadata, GGUFValueType, serializeGgufMetadata } from "@huggingface/gguf";
import { type StagedFile, stageFile } from "../files/atomic-file.ts";
import { reason } from "../files/byte-source.ts";
import type { Entries } from "./entries.ts";
import { GGML_TYPES, GgufError } from "./types.ts";

/** A tensor to write. */
export interface WrittenTensor {
  name: string;
  type: "F32" | "F16" | "BF16";
  /** sizes of the dimensions, the slowest first, as in PyTorch */
  shape: readonly number[];
  /** its bytes, little-endian, in pieces */
  data(): AsyncIterable<Uint8Array>;
}

/** Progress of a file that is written. The last event is `written`, when the file is in place. */
export type WriteGgufEvent =
  | { kind: "opened"; tensors: number; bytes: number }
  | { kind: "progress"; tensor: string; bytes: number }
  | { kind: "written"; bytes: number };

const VERSION = 3;
/** Tensors begin at multiples of this number of bytes, the format's default. */
const ALIGNMENT = 32;
const padding = (length: number): number => (ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT;

const NUMBERS = new Map(Array.from(GGML_TYPES, ([number, type]) => [type.name, { number, bytes: type.bytes }]));
const typeOf = ({ type }: WrittenTensor) => NUMBERS.get(type) as { number: number; bytes: number };

/** Size of a tensor in bytes. */
const byteLengthOf = (tensor: WrittenTensor): number =>
  tensor.shape.reduce((product, side) => product * side, typeOf(tensor).bytes);

/**
 * Writes a file. After an error, an old file of that name is unchanged.
 * @param file path of the file, whose folder is created
 * @throws GgufError if the file cannot be written, or a tensor has another number of bytes than its shape
 */
export async function* writeGguf(
  file: string,
  { metadata, tensors }: { metadata: Entries; tensors: readonly WrittenTensor[] },
): AsyncGenerator<WriteGgufEvent> {
  const bytes = tensors.reduce((sum, tensor) => sum + byteLengthOf(tensor), 0);
  yield { kind: "opened", tensors: tensors.length, bytes };
  await orFail(file, mkdir(dirname(file), { recursive: true }));
  const staged = await orFail(file, stageFile(file));
  try {
    const header = headerOf(metadata, tensors);
    await orFail(file, staged.append(padded(header)));
    for (const tensor of tensors) yield* appended(staged, tensor);
    await orFail(file, staged.finish());
    await orFail(file, staged.commit());
  } finally {
    await staged.discard();
  }
  yield { kind: "written", bytes };
}

async function* appended(staged: StagedFile, tensor: WrittenTensor): AsyncGenerator<WriteGgufEvent> {
  const [file, expected] = [staged.path, byteLengthOf(tensor)];
  let bytes = 0;
  for await (const piece of tensor.data()) {
    await orFail(file, staged.append(piece));
    bytes += piece.byteLength;
    yield { kind: "progress", tensor: tensor.name, bytes: piece.byteLength };
  }
  if (bytes !== expected) {
    throw new GgufError(`needs ${expected} bytes, got ${bytes}`, { file, tensor: tensor.name });
  }
  await orFail(file, staged.append(new Uint8Array(padding(bytes))));
}

/** Metadata and the places of tensors. */
function headerOf(metadata: Entries, tensors: readonly WrittenTensor[]): Uint8Array {
  const head = {
    version: { value: VERSION, type: GGUFValueType.UINT32 },
    tensor_count: { value: BigInt(tensors.length), type: GGUFValueType.UINT64 },
    kv_count: { value: BigInt(Object.keys(metadata).length), type: GGUFValueType.UINT64 },
    ...metadata,
  };
  // The library would put padding behind the metadata, where the tensors follow.
  const entries = serializeGgufMetadata(head as unknown as GGUFTypedMetadata, { alignment: 1 });
  let offset = 0;
  const infos = tensors.map((tensor) => {
    const info = infoOf(tensor, offset);
    const length = byteLengthOf(tensor);
    offset += length + padding(length);
    return info;
  });
  return joined([entries, ...infos]);
}

/** Name, dimensions, type and place of a tensor. */
function infoOf(tensor: WrittenTensor, offset: number): Uint8Array {
  const name = new TextEncoder().encode(tensor.name);
  const sides = [...tensor.shape].reverse();
  const bytes = new Uint8Array(8 + name.length + 4 + 8 * sides.length + 4 + 8);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(name.length), true);
  bytes.set(name, 8);
  let at = 8 + name.length;
  view.setUint32(at, sides.length, true);
  at += 4;
  for (const side of sides) {
    view.setBigUint64(at, BigInt(side), true);
    at += 8;
  }
  view.setUint32(at, typeOf(tensor).number, true);
  view.setBigUint64(at + 4, BigInt(offset), true);
  return bytes;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

const padded = (bytes: Uint8Array): Uint8Array => joined([bytes, new Uint8Array(padding(bytes.length))]);

async function orFail<Result>(file: string, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    throw new GgufError(`cannot be written: ${reason(error)}`, { file }, { cause: error });
  }
}
