// Windows of tokens that are read while a model trains on them, from parquet files on the disk or on the Hub. Only the row
// groups that are needed next are read, and nothing is stored.

import { readTokenizerFiles } from "../tokenizer/definition.ts";
import { openEncoder } from "../tokenizer/encoder.ts";
import { batchOf, startPool } from "../tokens/tokenize.ts";
import { contentsOf, type ItemStream, openLanes } from "./lanes.ts";
import { divided, rowGroupReader, type StreamShare } from "./stream-file.ts";
import { textWindows } from "./text-windows.ts";

/** Options of `openTokenStream`. */
export interface TokenStreamOptions {
  /** parquet files of the split, in order, or some of their row groups */
  files: readonly StreamShare[];
  /** micro-batches of a step, each of which reads a lane of its own */
  lanes: number;
  /** inputs of a window, tokens */
  context: number;
  /** seed of the order */
  seed: number;
  /** smallest number of windows of a lane that are shuffled together. Default 1024 */
  shuffled?: number | undefined;
  /** column with the text. Default `text` */
  column?: string | undefined;
  /** folder with tokenizer.json */
  tokenizer: string;
  /** worker threads that tokenize, 0 for none. Default 1 */
  workers?: number | undefined;
  /** ends reads that are under way, which throw its reason */
  signal?: AbortSignal | undefined;
}

/** Windows of tokens, of context + 1 ids each, in several lanes. */
export interface TokenStream extends ItemStream<Int32Array> {
  readonly context: number;
}

/**
 * Opens the stream. Only the tokenizer and, for few files, their row groups' sizes are read.
 * @throws DataError if a file is not a parquet file, or there are fewer row groups than lanes
 */
export async function openTokenStream(options: TokenStreamOptions): Promise<TokenStream> {
  const { files, lanes, context, seed, shuffled = 1024, column = "text", tokenizer, workers = 1, signal } = options;
  const definition = await readTokenizerFiles(tokenizer);
  const encoder = openEncoder(tokenizer, definition);
  const shares = await divided(files, { lanes, rowGroupsOf: rowGroupReader() });
  const pool = startPool({ tokenizer, workers, encoder });
  const encode = async (texts: readonly string[]) => (await pool.encode(batchOf(texts, 0))).ids;
  const format = textWindows({ context, column, encode });
  const stream = openLanes({ shares, seed, shuffled, format, signal, contents: contentsOf(files, definition.hash) });
  return {
    ...stream,
    context,
    close: async () => {
      await stream.close();
      await pool.close();
    },
  };
}
