// Imports a PyTorch checkpoint as a model folder: tensors become safetensors, everything else becomes JSON. Tensors
// are streamed from one file to the other; names and types do not change. Tied tensors are written under both names,
// since safetensors cannot share bytes and readers expect every name; the metadata records the tie.

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
import { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
import { CheckpointError } from "./contents.ts";

/** Name of the file for everything except tensors. */
export const HYPERPARAMETERS_FILE = "hyperparameters.json";
/**
 * Metadata key. Its value is a JSON object that maps the name of a tied tensor to the tensor that has the same
 * values.
 */
const TIED_KEY = "tied";

/** Source and target of an import. */
export interface ImportOptions {
  /** the model folder; created if needed. Files of an earlier import are replaced */
  out: string;
  /** most bytes of tensors in one file */
  maxShardBytes?: number;
}

/** What an import wrote. */
export interface ImportSummary {
  file: string;
  out: string;
  /** names of the files in the folder */
  files: string[];
  tensors: number;
  /** total size of the tensors */
  bytes: number;
  dtypes: { [D in FileDtype]?: { tensors: number; bytes: number } };
  /** maps a tied tensor to the tensor that has the same values */
  tied: { [name: string]: string };
}

/** Events of an import, in this order. */
export type ImportEvent =
  | { kind: "opened"; tensors: number; bytes: number }
  | WriteProgress
  | { kind: "imported"; summary: ImportSummary };

/**
 * Imports a checkpoint; the last event is `imported`.
 * @throws CheckpointError when the checkpoint cannot be read or has no tensors; SafetensorsError when the folder
 * cannot be written, which is then unchanged
 */
export async function* importCheckpoint(
  file: string,
  { out, maxShardBytes = MAX_SHARD_BYTES }: ImportOptions,
): AsyncGenerator<ImportEvent> {
  const checkpoint = await openCheckpoint(file);
  try {
    const summary = summarize(checkpoint, { file, out });
    if (summary.tensors === 0) throw new CheckpointError("has no tensors", { file });
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

/** The files of an earlier import that a new import into this folder would replace. */
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

/** Metadata of the written files. `format` is set because transformers rejects a file that does not state it. */
function metadataOf({ tied }: Checkpoint): Record<string, string> {
  return tied.size === 0 ? { format: "pt" } : { format: "pt", [TIED_KEY]: JSON.stringify(Object.fromEntries(tied)) };
}

/** @returns whether the folder was created */
async function makeFolder(out: string): Promise<boolean> {
  try {
    return (await mkdir(out, { recursive: true })) !== undefined;
  } catch (error) {
    throw new CheckpointError(`cannot be created as a folder: ${reason(error)}`, { file: out }, { cause: error });
  }
}

/**
 * Writes everything except the tensors as JSON.
 * @returns the names of the written files
 */
export async function writeRest({ rest }: Pick<Checkpoint, "rest">, out: string): Promise<string[]> {
  const path = join(out, HYPERPARAMETERS_FILE);
  try {
    if (Object.keys(rest).length === 0) {
      await rm(path, { force: true }); // left over from an earlier import
      return [];
    }
    await writeFileAtomically(path, `${JSON.stringify(rest, null, 2)}\n`);
    return [HYPERPARAMETERS_FILE];
  } catch (error) {
    throw new CheckpointError(`cannot be written: ${reason(error)}`, { file: path }, { cause: error });
  }
}
