// Writes a safetensors file: streamed, so that 5 GB need no 5 GB of memory, and atomic, so that a reader never sees half
// of it. One file only; models in several shards are in write-shards.ts.

import { type StagedFile, stageFile } from "../files/atomic-file.ts";
import { reason } from "../files/byte-source.ts";
import { SafetensorsError } from "./errors.ts";
import { type Layout, layOut, type Metadata, type TensorSource, wrongLength } from "./layout.ts";
import type { StoredTensor } from "./types.ts";

/** Tensors in memory by name, as sources for the writer. */
export function sourcesOf(tensors: Iterable<readonly [string, StoredTensor]>): TensorSource[] {
  return Array.from(tensors, ([name, tensor]) => ({ name, ...tensor }));
}

/**
 * Writes one file in its place, or leaves what is there as it was.
 * @throws SafetensorsError when the tensors break a rule of the format, or the disk does not take them
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorSource>,
  { metadata = {} }: { metadata?: Metadata } = {},
): Promise<void> {
  let staged: StagedFile | undefined;
  try {
    for await (const event of stageSafetensors(path, tensors, { metadata })) {
      if (event.kind === "staged") staged = event.staged;
    }
    if (staged) await committing(staged);
  } finally {
    await staged?.discard();
  }
}

/** As writeSafetensors, but for the last step: who asked puts the finished file in place, or discards it. */
export async function* stageSafetensors(
  path: string,
  tensors: Iterable<TensorSource>,
  { metadata = {} }: { metadata?: Metadata } = {},
): AsyncGenerator<WriteProgress | { kind: "staged"; staged: StagedFile; bytes: number }> {
  const layout = layOut(tensors, { file: path, metadata });
  const staged = await staging(path);
  let isWhole = false;
  try {
    yield* writeLayout(staged, layout);
    isWhole = true;
    yield { kind: "staged", staged, bytes: layout.bufferSize };
  } finally {
    if (!isWhole) await staged.discard();
  }
}

/** The bytes of one file in memory, as `writeSafetensors` would write them. */
export async function encodeSafetensors(
  tensors: Iterable<TensorSource>,
  { metadata = {} }: { metadata?: Metadata } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { head, placed, bufferSize } = layOut(tensors, { file: "bytes", metadata });
  const bytes = new Uint8Array(head.byteLength + bufferSize);
  bytes.set(head);
  let end = head.byteLength;
  for (const item of placed) {
    for await (const piece of piecesOf(item, "bytes")) {
      bytes.set(piece, end);
      end += piece.byteLength;
    }
  }
  return bytes;
}

/** One step of a long write. */
export interface WriteProgress {
  kind: "progress";
  tensor: string;
  /** just written */
  bytes: number;
}

/** Fills and finishes a staged file. */
export async function* writeLayout(staged: StagedFile, { head, placed }: Layout): AsyncGenerator<WriteProgress> {
  try {
    await staged.append(head);
    for (const item of placed) {
      for await (const piece of piecesOf(item, staged.path)) {
        await staged.append(piece);
        yield { kind: "progress", tensor: item.source.name, bytes: piece.byteLength };
      }
    }
    await staged.finish();
  } catch (error) {
    throw isSystemError(error) ? cannotBeWritten(staged.path, error) : error;
  }
}

/** The pieces of one tensor, which together must be as long as its shape says. */
async function* piecesOf(
  { source: { name: tensor, data }, place: { byteLength } }: Layout["placed"][number],
  file: string,
): AsyncGenerator<Uint8Array> {
  if (typeof data !== "function") {
    yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return;
  }
  let done = 0;
  for await (const piece of data()) {
    done += piece.byteLength;
    if (done > byteLength) throw wrongLength({ file, tensor, byteLength }, { byteLength: done });
    yield piece;
  }
  if (done !== byteLength) throw wrongLength({ file, tensor, byteLength }, { byteLength: done });
}

/** @throws SafetensorsError where the folder takes no file */
export async function staging(path: string): Promise<StagedFile> {
  return stageFile(path).catch((error: unknown) => {
    throw cannotBeWritten(path, error);
  });
}

export async function committing(staged: StagedFile): Promise<void> {
  await staged.commit().catch((error: unknown) => {
    throw cannotBeWritten(staged.path, error);
  });
}

/** What the system refuses is the file's error; what a source throws while it is read is its own. */
function isSystemError(error: unknown): boolean {
  return typeof (error as { syscall?: unknown }).syscall === "string";
}

/** The error of a file that the system does not take. */
export function cannotBeWritten(file: string, error: unknown): SafetensorsError {
  return new SafetensorsError(`cannot be written: ${reason(error)}`, { file }, { cause: error });
}
