// A PyTorch checkpoint made into a model folder: its tensors as safetensors, everything else as JSON. Tensors are streamed
// from one file to the other. Names and types stay as they were; a tensor that is tied to another is written under both
// names, because safetensors has no sharing and every reader expects every name, with a note of the tie in the metadata.

import { mkdir, readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../files/atomic-file.ts";
import { reason } from "../files/byte-source.ts";
import {
  type FileDtype,
  MAX_SHARD_BYTES,
  type TensorSource,
  type WriteProgress,
  writeModel,
} from "../safetensors/index.ts";
import { type Checkpoint, CheckpointError, openCheckpoint } from "./checkpoint.ts";

export const HYPERPARAMETERS_FILE = "hyperparameters.json";
/** Key of the metadata: a JSON object that maps a tied tensor's name to the one whose values it shares. */
const TIED_KEY = "tied";

export interface ImportOptions {
  /** the model folder, made if it is not there; files of an earlier import are replaced */
  out: string;
  /** bytes of tensors in one file, at most */
  maxShardBytes?: number;
}

export interface ImportSummary {
  file: string;
  out: string;
  /** names in the folder */
  files: string[];
  tensors: number;
  /** of all tensors */
  bytes: number;
  dtypes: { [D in FileDtype]?: { tensors: number; bytes: number } };
  /** name of a tied tensor to the one whose values it shares */
  tied: { [name: string]: string };
}

export type ImportEvent =
  | { kind: "opened"; tensors: number; bytes: number }
  | WriteProgress
  | { kind: "imported"; summary: ImportSummary };

/**
 * @throws CheckpointError when the checkpoint cannot be read or holds no tensors
 * @throws SafetensorsError when the folder cannot be written; what was in it is then as it was
 */
export async function* importCheckpoint(
  file: string,
  { out, maxShardBytes = MAX_SHARD_BYTES }: ImportOptions,
): AsyncGenerator<ImportEvent> {
  const checkpoint = await openCheckpoint(file);
  try {
    const summary = summarize(checkpoint, { file, out });
    if (summary.tensors === 0) throw new CheckpointError("holds no tensors", { file });
    yield { kind: "opened", tensors: summary.tensors, bytes: summary.bytes };
    const made = await makeFolder(out);
    try {
      const metadata = metadataOf(checkpoint);
      for await (const event of writeModel(out, sourcesOf(checkpoint), { metadata, maxShardBytes })) {
        if (event.kind === "progress") yield event;
        else summary.files.push(...event.files);
      }
    } catch (error) {
      if (made) await rmdir(out).catch(() => {});
      throw error;
    }
    summary.files.push(...(await writeRest(checkpoint, out)));
    yield { kind: "imported", summary };
  } finally {
    await checkpoint.close();
  }
}

/** Files of an earlier import in a folder: those that another one would replace. */
export async function outputsIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => /^model.*\.safetensors(\.index\.json)?$/.test(name) || name === HYPERPARAMETERS_FILE);
}

function summarize({ tensors, tied }: Checkpoint, { file, out }: { file: string; out: string }): ImportSummary {
  const dtypes: ImportSummary["dtypes"] = {};
  let bytes = 0;
  for (const { dtype, byteLength } of tensors.values()) {
    dtypes[dtype] ??= { tensors: 0, bytes: 0 };
    dtypes[dtype].tensors++;
    dtypes[dtype].bytes += byteLength;
    bytes += byteLength;
  }
  return { file, out, files: [], tensors: tensors.size, bytes, dtypes, tied: Object.fromEntries(tied) };
}

function sourcesOf(checkpoint: Checkpoint): TensorSource[] {
  return Array.from(checkpoint.tensors, ([name, { dtype, shape }]) => ({
    name,
    dtype,
    shape,
    data: () => checkpoint.chunks(name),
  }));
}

/** Python's transformers reads a file only when it says which framework's layout it has. */
function metadataOf({ tied }: Checkpoint): Record<string, string> {
  return tied.size === 0 ? { format: "pt" } : { format: "pt", [TIED_KEY]: JSON.stringify(Object.fromEntries(tied)) };
}

/** @returns whether the folder was not there */
async function makeFolder(out: string): Promise<boolean> {
  try {
    return (await mkdir(out, { recursive: true })) !== undefined;
  } catch (error) {
    throw new CheckpointError(`cannot be made a folder: ${reason(error)}`, { file: out }, { cause: error });
  }
}

/** What is no tensor, as JSON; an earlier import's goes. @returns names of files that were written */
export async function writeRest({ rest }: Pick<Checkpoint, "rest">, out: string): Promise<string[]> {
  const path = join(out, HYPERPARAMETERS_FILE);
  try {
    if (Object.keys(rest).length === 0) {
      await rm(path, { force: true }); // an earlier import's are not this one's
      return [];
    }
    await writeFileAtomically(path, `${JSON.stringify(rest, null, 2)}\n`);
    return [HYPERPARAMETERS_FILE];
  } catch (error) {
    throw new CheckpointError(`cannot be written: ${reason(error)}`, { file: path }, { cause: error });
  }
}
