// Opens a text data set with a tokenizer, and cuts its splits into windows of token ids.

import { join } from "node:path";
import {
  openTextTokens,
  openTokenizer,
  type TextWindows,
  type TokenFile,
  type Tokenizer,
  tokenWindows,
} from "../../data/index.ts";
import { RandomStream } from "../../data/random.ts";
import type { ProcessGroup } from "../../distributed/process-group.ts";
import { type PipelineEvent, SettingsError } from "../stage.ts";

export interface TextsOptions {
  /** folder of the data set */
  dataset: string;
  /** folder with the tokenizer */
  tokenizer: string;
  config: string | undefined;
  column: string | undefined;
  /** encoding of text and JSON files. Default UTF-8 */
  encoding?: string | undefined;
  /** tokens per window */
  context: number;
  /** tokens from the start of one window to that of the next. Default `context` */
  stride?: number | undefined;
  /** whether all windows must be whole. Default false: the last window may be shorter */
  whole?: boolean | undefined;
  /** cache folder; files of token ids are kept in its folder `tokens` */
  cache: string;
  /** processes that tokenize large splits together, all of which open the same ones. Default: there is one */
  ranks?: ProcessGroup | undefined;
  signal: AbortSignal;
}

/** The splits of a text data set, tokenized on demand. Must be closed. */
export class Texts {
  private readonly open: TokenFile[] = [];
  private readonly options: TextsOptions;
  readonly tokenizer: Tokenizer;

  constructor(options: TextsOptions, tokenizer: Tokenizer) {
    this.options = options;
    this.tokenizer = tokenizer;
  }

  /**
   * Tokenizes a split, or reads its token ids from the cache, and cuts it into windows.
   * @param options.whole whether all windows of this split must be whole. Default: `whole` of the constructor's options
   * @param options.context tokens per window of this split. Default: `context` of the constructor's options
   * @throws DataError if the split or the column does not exist
   */
  async *windows(
    split: string,
    { whole, context: own }: { whole?: boolean | undefined; context?: number | undefined } = {},
  ): AsyncGenerator<PipelineEvent, TextWindows> {
    const { context: usual, stride, whole: usually, cache, ...rest } = this.options;
    const context = own ?? usual;
    for await (const event of openTextTokens({ ...rest, split, cache: join(cache, "tokens") })) {
      yield { kind: "inner", of: "tokenize", event };
      if (event.kind === "tokens") {
        this.open.push(event.tokens);
        const windows = tokenWindows(event.tokens, { context, stride, whole: whole ?? usually });
        const { length, leftOut } = windows;
        yield { kind: "inner", of: "windows", event: { split, windows: length, context, leftOut } };
        return windows;
      }
    }
    throw new Error(`${split} was not tokenized to its end`);
  }

  async close(): Promise<void> {
    await Promise.all(this.open.splice(0).map((tokens) => tokens.close()));
  }
}

/** Opens a text data set and its tokenizer. No split is read. */
export async function openTexts(options: TextsOptions): Promise<Texts> {
  return new Texts(options, await openTokenizer(options.tokenizer));
}

/**
 * Checks a number of tokens per window.
 * @param options.flag that gives it, e.g. `--context`
 * @throws SettingsError if the model has fewer positions
 */
export function expectContext(length: number, { flag, positions }: { flag: string; positions: number }): void {
  if (length <= positions) return;
  throw new SettingsError(
    `${flag} ${length} is longer than the model's ${positions} positions; give at most ${positions}`,
  );
}

/** What a calibration needs of windows. */
type Windows = Pick<TextWindows, "length" | "context" | "read">;

/**
 * Windows drawn at random without repetition, in the order of the draw. The draw depends on the seed and the number of
 * windows only, and a larger one begins with a smaller one.
 * @param options.seed default: the first windows, in order
 */
export function drawnWindows(windows: Windows, { count, seed }: { count: number; seed?: number | undefined }): Windows {
  const length = Math.min(count, windows.length);
  const order = seed === undefined ? undefined : new RandomStream(seed).order(windows.length);
  return { length, context: windows.context, read: (i) => windows.read(order?.[i] ?? i) };
}

/** The first `limit` windows. */
export function firstWindows(windows: TextWindows, limit: number | undefined): TextWindows {
  if (limit === undefined || limit >= windows.length) return windows;
  let scored = 0;
  for (let i = 0; i < limit; i++) scored += windows.newTargets(i);
  return {
    length: limit,
    context: windows.context,
    stride: windows.stride,
    scored,
    leftOut: windows.leftOut + windows.scored - scored,
    read: (i) => windows.read(i),
    newTargets: (i) => windows.newTargets(i),
  };
}
