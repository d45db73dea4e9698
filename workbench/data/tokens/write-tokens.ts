// Tokenizes the files of a split and writes the ids to a token file, in one process or over the ranks of a run.

import { stat } from "node:fs/promises";
import os from "node:os";
import { basename, dirname, join } from "node:path";
import type { ProcessGroup } from "../../distributed/process-group.ts";
import { gathered, shared } from "../../distributed/shares.ts";
import { type Rows, rowsOf } from "../dataset/rows.ts";
import type { Encoder } from "../tokenizer/encoder.ts";
import type { TextTokensOptions, TokenizeEvent } from "../types.ts";
import { IncompleteError, tokenizeDealt } from "./dealt-batches.ts";
import { type TokenFileWriter, writeTokenFile } from "./token-file.ts";
import { batched, type Tokenized, tokenize } from "./tokenize.ts";

/** Total size in bytes below which files are tokenized in one thread, because starting workers would take longer. */
const SMALL_BYTES = 8 * 2 ** 20;
/** Largest default number of workers. */
const MOST_WORKERS = 16;

/** What errors say while ranks share the work. */
export const TOKENIZING = "tokenizing";

/** What is tokenized, and how. */
export interface Work extends Omit<TextTokensOptions, "ranks"> {
  /** of the token file */
  path: string;
  column: string;
  /** everything that the ids depend on */
  settings: Record<string, unknown>;
  /** opens the tokenizer; at each call the same one */
  open(): Encoder;
  /** paths of the data files, in order */
  paths: string[];
}

/** Writes the token file. Nothing incomplete is left if it fails or is not iterated to its end. */
export async function* writeTokens(work: Work): AsyncGenerator<TokenizeEvent> {
  const file = await begun(work);
  try {
    const sizes = await sizesOf(work.paths);
    const how = { ...work, encoder: work.open(), workers: workersFor(work, sizes) };
    yield* written(file, tokenize(batchesOf(work, sizes), how));
  } finally {
    await file.discard();
  }
}

/**
 * Like `writeTokens`, by all ranks of a run at the same time. In each cache folder one rank writes the file, whose bytes
 * are those that one process would write. Small texts are tokenized by that rank, the batches of larger ones are dealt
 * over all ranks, as are those of any text for which the number of workers is given.
 * @param isFound whether this rank has the file already
 * @throws what `gathered` throws where another rank fails
 */
export async function* writeSharedTokens(
  work: Work,
  { ranks, isFound }: { ranks: ProcessGroup; isFound: boolean },
): AsyncGenerator<TokenizeEvent> {
  const sharing = { ranks, signal: work.signal };
  let file: TokenFileWriter | undefined;
  let sizes: number[] = [];
  try {
    const begin = async () => {
      sizes = await sizesOf(work.paths);
      work.open();
      if (!isFound) file = await begun(work);
      return file ? basename(file.temporary) : "";
    };
    const marks = await gathered(TOKENIZING, begin, sharing);
    // No rank goes on before all have looked.
    const writers = await gathered(TOKENIZING, () => firstSeen(marks, dirname(work.path)), sharing);
    const own = file && writers[ranks.rank] === ranks.rank ? file : undefined;
    const how = { ...work, encoder: work.open(), ranks, workers: workersFor(work, sizes, ranks) };
    const batches = batchesOf(work, sizes);
    const isDealt = work.workers !== undefined || !isSmall(sizes);
    if (isDealt) yield* shared(TOKENIZING, unlessIncomplete(written(own, tokenizeDealt(batches, how))), sharing);
    else if (own) yield* shared(TOKENIZING, written(own, tokenize(batches, how)), sharing);
    else await gathered(TOKENIZING, async () => 0, sharing);
  } finally {
    // Only now, so that network file systems look again for what others have put into the folder.
    await file?.discard();
  }
}

/** The first rank whose temporary file is in a folder, or -1. */
async function firstSeen(marks: readonly string[], folder: string): Promise<number> {
  for (const [rank, mark] of marks.entries()) {
    if (mark !== "" && (await stat(join(folder, mark)).catch(() => undefined))) return rank;
  }
  return -1;
}

/** If another rank has failed, this one has nothing to add to what that one says. */
async function* unlessIncomplete(work: AsyncGenerator<TokenizeEvent, number>): AsyncGenerator<TokenizeEvent, number> {
  try {
    return yield* work;
  } catch (error) {
    if (error instanceof IncompleteError) return 0;
    throw error;
  }
}

const begun = ({ path, settings, open }: Work): Promise<TokenFileWriter> =>
  writeTokenFile(path, { vocabSize: open().vocabSize, settings });

/**
 * Appends results to a file, and completes it.
 * @param file undefined if another rank writes it
 * @returns number of ids
 */
async function* written(
  file: TokenFileWriter | undefined,
  results: AsyncGenerator<Tokenized>,
): AsyncGenerator<TokenizeEvent, number> {
  const counts = { rows: 0, words: 0, bytes: 0 };
  const start = performance.now();
  let tokens = 0;
  for await (const { ids, fraction, workers, ...more } of results) {
    await file?.append(ids);
    tokens += ids.length;
    counts.rows += more.rows;
    counts.words += more.words;
    counts.bytes += more.bytes;
    const bytesPerSecond = counts.bytes / Math.max(1e-3, (performance.now() - start) / 1000);
    const { rows, bytes } = counts;
    yield { kind: "tokenizing", fraction, rows, bytes, tokens, bytesPerSecond, workers };
  }
  await file?.commit(counts);
  return tokens;
}

const sizesOf = (paths: readonly string[]): Promise<number[]> =>
  Promise.all(paths.map(async (path) => (await stat(path)).size));

const totalOf = (sizes: readonly number[]): number => sizes.reduce((sum, size) => sum + size, 0);

const isSmall = (sizes: readonly number[]): boolean => totalOf(sizes) < SMALL_BYTES;

function workersFor({ workers }: Work, sizes: readonly number[], ranks?: ProcessGroup): number {
  if (workers !== undefined) return workers;
  if (isSmall(sizes)) return 0;
  const cores = Math.floor(os.availableParallelism() / (ranks?.localSize ?? 1));
  return Math.min(Math.max(1, cores), MOST_WORKERS);
}

const batchesOf = (work: Work, sizes: readonly number[]) => batched(allRows(work, sizes));

async function* allRows({ paths, column, encoding }: Work, sizes: readonly number[]): AsyncGenerator<Rows> {
  const total = Math.max(1, totalOf(sizes));
  let before = 0;
  for (const [i, path] of paths.entries()) {
    const size = sizes[i] as number;
    for await (const { texts, fraction } of rowsOf(path, column, { encoding }))
      yield { texts, fraction: (before + fraction * size) / total };
    before += size;
  }
}
