// Writes the tensors of a model folder: one model.safetensors, or shards of limited size with an index. The files are
// put in place after all of them have been written, the index last. Then files that an earlier model left are
// removed.

import { readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import type { StagedFile } from "../files/atomic-file.ts";
import { INDEX_FILE, indexText, SINGLE_FILE, shardName } from "./shards.ts";
import { byteLengthOf } from "./types.ts";
import {
  cannotBeWritten,
  committing,
  type Layout,
  layOut,
  type Metadata,
  staging,
  type TensorSource,
  type WriteProgress,
  writeLayout,
} from "./write.ts";

/** Largest shard, in bytes. The default of Hugging Face's libraries. */
export const MAX_SHARD_BYTES = 5e9;

/** Shard size and metadata of a model that is written. */
export interface WriteModelOptions {
  metadata?: Metadata;
  /** most bytes of tensors in one file; a larger tensor gets a file of its own */
  maxShardBytes?: number;
}

/** A model that is in place. */
export interface ModelWritten {
  kind: "written";
  /** names of the files in the folder, the index last */
  files: string[];
  /** size of all tensors */
  bytes: number;
}

/** A model that is written but not in place yet. */
export interface ModelStaged {
  kind: "staged";
  /** finished files, to be committed in this order (the index last) or discarded */
  staged: StagedFile[];
  /** size of all tensors */
  bytes: number;
}

/**
 * Writes the tensors, in the given order, into `folder`, which must exist. The last event is `written`.
 * @throws SafetensorsError when the tensors break a rule of the format, or a file cannot be written
 */
export async function* writeModel(
  folder: string,
  tensors: Iterable<TensorSource>,
  options: WriteModelOptions = {},
): AsyncGenerator<WriteProgress | ModelWritten> {
  for await (const event of stageModel(folder, tensors, options)) {
    if (event.kind === "progress") {
      yield event;
      continue;
    }
    const { staged, bytes } = event;
    try {
      for (const file of staged) await committing(file);
    } finally {
      await Promise.all(staged.map((file) => file.discard()));
    }
    const files = staged.map(({ path }) => basename(path));
    for (const name of await otherModelFiles(folder, files)) await rm(join(folder, name), { force: true });
    yield { kind: "written", files, bytes };
  }
}

/**
 * Like writeModel, but without the last step: the caller commits the files, perhaps together with others. The last
 * event is `staged`.
 */
export async function* stageModel(
  folder: string,
  tensors: Iterable<TensorSource>,
  { metadata = {}, maxShardBytes = MAX_SHARD_BYTES }: WriteModelOptions = {},
): AsyncGenerator<WriteProgress | ModelStaged> {
  const layouts = layOutShards([...tensors], { folder, metadata, maxShardBytes });
  const staged: StagedFile[] = [];
  let isWhole = false;
  try {
    for (const [file, layout] of layouts) {
      const shard = await staging(join(folder, file));
      staged.push(shard);
      yield* writeLayout(shard, layout);
    }
    const bytes = sum(Array.from(layouts.values(), ({ bufferSize }) => bufferSize));
    if (layouts.size > 1) staged.push(await stageIndex(folder, { layouts, bytes }));
    isWhole = true;
    yield { kind: "staged", staged, bytes };
  } finally {
    if (!isWhole) await Promise.all(staged.map((file) => file.discard()));
  }
}

/** Files of other models in a folder, given the files of this one. A reader must not find two models. */
export async function otherModelFiles(folder: string, files: readonly string[]): Promise<string[]> {
  const ours = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/;
  return (await readdir(folder)).filter((name) => ours.test(name) && !files.includes(name));
}

function layOutShards(
  tensors: TensorSource[],
  { folder, metadata, maxShardBytes }: Required<WriteModelOptions> & { folder: string },
): Map<string, Layout> {
  // A layout of all tensors finds names that are repeated in different shards.
  const whole = layOut(tensors, { file: join(folder, SINGLE_FILE), metadata });
  if (whole.bufferSize <= maxShardBytes) return new Map([[SINGLE_FILE, whole]]);
  const shards = divide(tensors, maxShardBytes);
  if (shards.length === 1) return new Map([[SINGLE_FILE, whole]]);
  return new Map(
    shards.map((shard, i) => {
      const file = shardName(i + 1, shards.length);
      return [file, layOut(shard, { file: join(folder, file), metadata })];
    }),
  );
}

/** Fills one shard after another. */
function divide(tensors: readonly TensorSource[], maxShardBytes: number): TensorSource[][] {
  const shards: TensorSource[][] = [];
  let room = -1;
  for (const tensor of tensors) {
    const bytes = byteLengthOf(tensor.dtype, tensor.shape) as number;
    if (bytes > room || shards.length === 0) {
      shards.push([]);
      room = maxShardBytes;
    }
    shards.at(-1)?.push(tensor);
    room -= bytes;
  }
  return shards;
}

async function stageIndex(
  folder: string,
  { layouts, bytes }: { layouts: ReadonlyMap<string, Layout>; bytes: number },
): Promise<StagedFile> {
  const weights = new Map<string, string>();
  for (const [file, { placed }] of layouts) for (const { source } of placed) weights.set(source.name, file);
  const staged = await staging(join(folder, INDEX_FILE));
  try {
    await staged.append(new TextEncoder().encode(indexText(weights, bytes)));
    await staged.finish();
    return staged;
  } catch (error) {
    await staged.discard();
    throw cannotBeWritten(staged.path, error);
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
