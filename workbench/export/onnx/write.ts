// Writes an ONNX file. Weights are streamed into it. A file of Protocol Buffers holds at most 2 GB, so that the weights
// of larger models are in a second file, `<file>_data`, whose name is that of Hugging Face's libraries.

import { Buffer } from "node:buffer";
import { mkdir, rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { type StagedFile, stageFile } from "../../../hub/files/atomic-file.ts";
import { reason } from "../../../hub/files/byte-source.ts";
import { ModelError } from "../../../hub/model-folder/index.ts";
import type { TensorSource } from "../../../hub/safetensors/index.ts";
import type { SaveEvent } from "../../models/index.ts";
import { byteLengthOf, type ExternalPlace, encodeModel, type FileFacts } from "./encode.ts";
import type { Graph } from "./graph.ts";
import type { Piece } from "./protobuf.ts";

/** Most bytes of a graph with its weights in one file. The format's limit is 2³¹ − 1. */
const MOST_IN_ONE_FILE = 1.9e9;
/** Smaller tensors are in the graph in any case, because shapes are inferred from some of them. */
const LEAST_OUTSIDE = 1024;
/** Tensors begin at multiples of a page, so that readers can map them into memory. */
const PAGE = 4096;

/** Options of `writeOnnx`. */
export interface WriteOptions {
  facts: FileFacts;
  /** most bytes of weights in the file of the graph. Default 1.9 GB */
  mostInOneFile?: number;
  /**
   * Called when all is written and the old graph is removed, before the new one is in place: puts files beside it in
   * place. Default: there are none
   */
  before?: ((split: boolean) => Promise<void>) | undefined;
}

/** Files that are written but not in place yet. */
interface Staged {
  graph: StagedFile;
  data?: StagedFile;
}

/** The file beside `file` that holds the weights of large models. */
export const dataFileOf = (file: string): string => `${file}_data`;

/**
 * Writes a graph with its weights. Files of that name are replaced, or after an error while writing not changed.
 * @param file path of the file, whose folder is created
 * @throws ModelError when it cannot be written
 */
export async function* writeOnnx(
  graph: Graph,
  file: string,
  { facts, mostInOneFile = MOST_IN_ONE_FILE, before }: WriteOptions,
): AsyncGenerator<Exclude<SaveEvent, { kind: "saved" }> | { kind: "written"; files: string[]; bytes: number }> {
  const sources = [...graph.initializers.values()];
  const size = sources.reduce((sum, source) => sum + byteLengthOf(source), 0);
  yield { kind: "opened", tensors: sources.length, bytes: size };
  const placed =
    size > mostInOneFile ? placesOf(sources, basename(dataFileOf(file))) : new Map<string, ExternalPlace>();
  const staged: Partial<Staged> = {};
  await mkdir(dirname(file), { recursive: true }).catch((error: unknown) => {
    throw cannotBeWritten(file, error);
  });
  try {
    if (placed.size > 0) {
      staged.data = await staging(dataFileOf(file));
      yield* appendAll(staged.data, dataPieces(sources, placed));
    }
    staged.graph = await staging(file);
    yield* appendAll(staged.graph, encodeModel(graph, facts, placed).pieces);
    await commit(file, staged as Staged, before);
    const files = [staged.graph, ...(staged.data ? [staged.data] : [])].map(({ path }) => basename(path));
    yield { kind: "written", files, bytes: size };
  } finally {
    await Promise.all([staged.graph?.discard(), staged.data?.discard()]);
  }
}

/** Assigns each tensor its place in the second file. */
function placesOf(sources: readonly TensorSource[], location: string): Map<string, ExternalPlace> {
  const places = new Map<string, ExternalPlace>();
  let end = 0;
  for (const source of sources) {
    const length = byteLengthOf(source);
    if (length < LEAST_OUTSIDE) continue;
    const offset = Math.ceil(end / PAGE) * PAGE;
    places.set(source.name, { location, offset, length });
    end = offset + length;
  }
  return places;
}

/** The content of the second file: tensors, and zeros between them. */
function* dataPieces(sources: readonly TensorSource[], places: ReadonlyMap<string, ExternalPlace>): Generator<Piece> {
  let end = 0;
  for (const source of sources) {
    const place = places.get(source.name);
    if (!place) continue;
    if (place.offset > end) yield new Uint8Array(place.offset - end);
    yield { source, byteLength: place.length };
    end = place.offset + place.length;
  }
}

/** Small pieces are gathered up to this number of bytes before they are written. */
const BUFFER = 1 << 16;

async function* appendAll(
  staged: StagedFile,
  pieces: Iterable<Piece>,
): AsyncGenerator<Extract<SaveEvent, { kind: "progress" }>> {
  try {
    let [small, held]: [Uint8Array[], number] = [[], 0];
    const flush = async () => {
      if (held > 0) await staged.append(Buffer.concat(small));
      [small, held] = [[], 0];
    };
    for (const piece of pieces) {
      if (piece instanceof Uint8Array) {
        small.push(piece);
        held += piece.byteLength;
        if (held > BUFFER) await flush();
        continue;
      }
      await flush();
      for await (const bytes of bytesOfTensor(piece.source, staged.path)) {
        await staged.append(bytes);
        yield { kind: "progress", tensor: piece.source.name, bytes: bytes.byteLength };
      }
    }
    await flush();
    await staged.finish();
  } catch (error) {
    throw isSystemError(error) ? cannotBeWritten(staged.path, error) : error;
  }
}

/** The bytes of a tensor. @throws ModelError when their number does not match the shape */
async function* bytesOfTensor(source: TensorSource, file: string): AsyncGenerator<Uint8Array> {
  const { data, name: tensor } = source;
  let bytes = 0;
  for await (const piece of typeof data === "function" ? data() : [data]) {
    bytes += piece.byteLength;
    yield new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
  }
  const expected = byteLengthOf(source);
  if (bytes !== expected) throw new ModelError(`needs ${expected} bytes, got ${bytes}`, { file, tensor });
}

/**
 * Puts the files in place. A graph must never be beside the weights of another one, so that the old graph is removed
 * first and the new one comes last.
 */
async function commit(file: string, { graph, data }: Staged, before: WriteOptions["before"]): Promise<void> {
  try {
    if (data || before) await rm(file, { force: true });
    await data?.commit();
    await before?.(data !== undefined);
    await graph.commit();
    if (!data) await rm(dataFileOf(file), { force: true });
  } catch (error) {
    throw isSystemError(error) ? cannotBeWritten(file, error) : error;
  }
}

const staging = (path: string): Promise<StagedFile> =>
  stageFile(path).catch((error: unknown) => {
    throw cannotBeWritten(path, error);
  });

const isSystemError = (error: unknown): boolean => typeof (error as { syscall?: unknown }).syscall === "string";

const cannotBeWritten = (file: string, error: unknown): ModelError =>
  new ModelError(`cannot be written: ${reason(error)}`, { file }, { cause: error });
