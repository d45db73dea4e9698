// Writes a model folder: one model.safetensors, or shards of bounded size with their index. The files are put in place
// only when all of them are on the disk, the index last; what an earlier model left of the other form is then removed.

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

/** Bytes of tensors in one shard, at most, as Hugging Face's libraries have it. */
export const MAX_SHARD_BYTES = 5e9;

export interface WriteModelOptions {
  metadata?: Metadata;
  /** bytes of tensors in one file, at most; a larger tensor has a file of its own */
  maxShardBytes?: number;
}

export interface ModelWritten {
  kind: "written";
  /** names in the folder, the index last */
  files: string[];
  /** of all tensors */
  bytes: number;
}

/** A model that is on the disk, but not in its place. */
export interface ModelStaged {
  kind: "staged";
  /** finished; to be put in place in this order, the index last, or discarded */
  staged: StagedFile[];
  /** of all tensors */
  bytes: number;
}

/**
 * Writes the tensors, in the order given, to `folder`, which must exist.
 * @throws SafetensorsError when the tensors break a rule of the format, or the disk does not take them
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

/** As writeModel, but for the last step: who asked puts the files in place, perhaps with others. */
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

/** Files of a model in a folder that are not among these: a reader must not find two models there. */
export async function otherModelFiles(folder: string, files: readonly string[]): Promise<string[]> {
  const ours = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/;
  return (await readdir(folder)).filter((name) => ours.test(name) && !files.includes(name));
}

function layOutShards(
  tensors: TensorSource[],
  { folder, metadata, maxShardBytes }: Required<WriteModelOptions> & { folder: string },
): Map<string, Layout> {
  // All in one layout first: a name given twice must be found across shards too.
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

/** Fills each shard in turn. */
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
