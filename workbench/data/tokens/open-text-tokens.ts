// Opens a split of a text data set as a token file, which is created in the cache if it does not exist yet. The file's
// name is a hash of everything that the ids depend on, so that an outdated file is never read.

import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import os from "node:os";
import { join } from "node:path";
import { identityOf, splitFilesOf } from "../dataset/folder.ts";
import { type Rows, rowsOf } from "../dataset/rows.ts";
import type { SplitFiles } from "../dataset/split-files.ts";
import { DataError } from "../errors.ts";
import { readTokenizerFiles } from "../tokenizer/definition.ts";
import { type Encoder, openEncoder } from "../tokenizer/encoder.ts";
import type { TextTokensOptions, TokenFile, TokenizeEvent } from "../types.ts";
import { FORMAT_VERSION, openTokenFile, writeTokenFile } from "./token-file.ts";
import { batched, tokenize } from "./tokenize.ts";

/** Total size in bytes below which files are tokenized in this thread, because starting workers would take longer. */
const SMALL_BYTES = 8 * 2 ** 20;
/** Largest default number of workers. */
const MOST_WORKERS = 16;

/** Incremented whenever a change of the code changes the ids, so that older token files are not read. */
const IDS_VERSION = 3;

/**
 * Opens the tokens of a split. Each row is tokenized separately, without special tokens, and the ids are concatenated.
 * The last event holds the tokens. If iteration stops earlier, no incomplete file is left in the cache.
 * @throws DataError if the data set, configuration, split, column or tokenizer is missing or damaged, or the cache
 * cannot be written; the signal's reason if it aborts
 */
export async function* openTextTokens(options: TextTokensOptions): AsyncGenerator<TokenizeEvent> {
  const { dataset, config, split, column = "text", encoding, tokenizer, cache, signal } = options;
  const chosen = await splitFilesOf(dataset, { config, split });
  yield { kind: "data", ...chosen };
  const files = await readTokenizerFiles(tokenizer);
  const settings = await settingsOf(dataset, chosen, { column, encoding, tokenizer: files.hash, signal });
  const path = join(
    cache,
    `${createHash("sha256").update(JSON.stringify(settings)).digest("hex").slice(0, 32)}.tokens`,
  );
  const found = await openIfWhole(path);
  if (found) {
    yield { kind: "tokens", tokens: found, cached: true };
    return;
  }
  const encoder = openEncoder(tokenizer, files);
  const paths = chosen.files.map((file) => join(dataset, file));
  yield* writeTokens(path, { ...options, column, settings, encoder, paths });
  yield { kind: "tokens", tokens: await openTokenFile(path), cached: false };
}

/** Everything that the ids depend on. */
async function settingsOf(
  dataset: string,
  { config, split, files }: SplitFiles,
  { tokenizer, signal, ...text }: Pick<TextTokensOptions, "column" | "encoding" | "tokenizer" | "signal">,
): Promise<Record<string, unknown>> {
  const data = [];
  for (const file of files) data.push({ file, ...(await identityOf(join(dataset, file), signal)) });
  return { format: FORMAT_VERSION, ids: IDS_VERSION, config, split, ...text, tokenizer, data };
}

/** @returns undefined if the file does not exist or is damaged, so that it is created again */
async function openIfWhole(path: string): Promise<TokenFile | undefined> {
  try {
    return await openTokenFile(path);
  } catch (error) {
    if (error instanceof DataError) return undefined;
    throw error;
  }
}

interface Work extends TextTokensOptions {
  column: string;
  settings: Record<string, unknown>;
  encoder: Encoder;
  /** paths of the data files, in order */
  paths: string[];
}

async function* writeTokens(path: string, work: Work): AsyncGenerator<TokenizeEvent> {
  const { column, encoding, tokenizer, signal, settings, encoder, paths } = work;
  const sizes = await Promise.all(paths.map(async (file) => (await stat(file)).size));
  const workers = work.workers ?? defaultWorkers(sizes.reduce((sum, size) => sum + size, 0));
  const vocabSize = encoder.vocabSize;
  const file = await writeTokenFile(path, { vocabSize, settings });
  const counts = { rows: 0, words: 0, bytes: 0 };
  const start = performance.now();
  let tokens = 0;
  try {
    const batches = batched(allRows(paths, { column, encoding, sizes }));
    for await (const { ids, fraction, workers: threads, ...more } of tokenize(batches, {
      encoder,
      tokenizer,
      workers,
      signal,
    })) {
      await file.append(ids);
      tokens += ids.length;
      counts.rows += more.rows;
      counts.words += more.words;
      counts.bytes += more.bytes;
      const bytesPerSecond = counts.bytes / Math.max(1e-3, (performance.now() - start) / 1000);
      yield {
        kind: "tokenizing",
        fraction,
        rows: counts.rows,
        bytes: counts.bytes,
        tokens,
        bytesPerSecond,
        workers: threads,
      };
    }
    await file.commit(counts);
  } finally {
    await file.discard();
  }
}

function defaultWorkers(bytes: number): number {
  return bytes < SMALL_BYTES ? 0 : Math.min(os.availableParallelism(), MOST_WORKERS);
}

async function* allRows(
  paths: readonly string[],
  { column, encoding, sizes }: { column: string; encoding: string | undefined; sizes: readonly number[] },
): AsyncGenerator<Rows> {
  const total = Math.max(
    1,
    sizes.reduce((sum, size) => sum + size, 0),
  );
  let before = 0;
  for (const [i, path] of paths.entries()) {
    const size = sizes[i] as number;
    for await (const { texts, fraction } of rowsOf(path, column, { encoding }))
      yield { texts, fraction: (before + fraction * size) / total };
    before += size;
  }
}
