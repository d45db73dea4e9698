// Writes a model folder: one model.safetensors, or shards of bounded size with their index. The files are put in place
// only when all of them are on the disk, the index last; what an earlier model left of the other form is then removed.

import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { StagedFile } from "../atomic-file.ts";
import { type Layout, layOut, type Metadata, type TensorSource } from "./layout.ts";
import { INDEX_FILE, indexText, SINGLE_FILE, shardName } from "./shards.ts";
import { byteLengthOf } from "./types.ts";
import { cannotBeWritten, committing, staging, type WriteProgress, writeLayout } from "./write.ts";

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

/**
 * Writes the tensors, in the order given, to `folder`, which must exist.
 * @throws SafetensorsError when the tensors break a rule of the format, or the disk does not take them
 */
export async function* writeModel(
  folder: string,
  tensors: Iterable<TensorSource>,
  { metadata = {}, maxShardBytes = MAX_SHARD_BYTES }: WriteModelOptions = {},
): AsyncGenerator<WriteProgress | ModelWritten> {
  const layouts = layOutShards([...tensors], { folder, metadata, maxShardBytes });
  const staged: StagedFile[] = [];
  try {
    for (const [file, layout] of layouts) {
      const shard = await staging(join(folder, file));
      staged.push(shard);
      yield* writeLayout(shard, layout);
    }
    const bytes = sum(Array.from(layouts.values(), ({ bufferSize }) => bufferSize));
    if (layouts.size > 1) staged.push(await stageIndex(folder, { layouts, bytes }));
    for (const file of staged) await committing(file);
    const files = layouts.size > 1 ? [...layouts.keys(), INDEX_FILE] : [...layouts.keys()];
    await removeOthers(folder, files);
    yield { kind: "written", files, bytes };
  } finally {
    await Promise.all(staged.map((file) => file.discard()));
  }
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

/** A reader must not find two models in one folder. */
async function removeOthers(folder: string, files: readonly string[]): Promise<void> {
  const ours = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/;
  for (const name of await readdir(folder)) {
    if (ours.test(name) && !files.includes(name)) await rm(join(folder, name), { force: true });
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
