// Text as windows of token ids, one list for each split, and the tokenizer of the ids.

import { join } from "node:path";
import {
  openTextTokens,
  openTokenizer,
  type TextWindows,
  type TokenFile,
  type Tokenizer,
  tokenWindows,
} from "../../data/index.ts";
import type { PipelineEvent } from "../stage.ts";

export interface TextsOptions {
  /** folders */
  dataset: string;
  tokenizer: string;
  config: string | undefined;
  column: string | undefined;
  /** of files of text and of JSON. Default UTF-8 */
  encoding?: string | undefined;
  /** tokens of a window */
  context: number;
  /** tokens from one window to the next. Default `context` */
  stride?: number | undefined;
  /** whole windows only. Default false: the last window may be shorter */
  whole?: boolean | undefined;
  /** cache folder; files of token ids are kept in its folder `tokens` */
  cache: string;
  signal: AbortSignal;
}

/** Opens splits on demand. Must be closed. */
export class Texts {
  private readonly open: TokenFile[] = [];
  private readonly options: TextsOptions;
  readonly tokenizer: Tokenizer;

  constructor(options: TextsOptions, tokenizer: Tokenizer) {
    this.options = options;
    this.tokenizer = tokenizer;
  }

  /**
   * @param options.whole for this split. Default as for all
   * @throws DataError when there is no such split or column
   */
  async *windows(
    split: string,
    { whole }: { whole?: boolean | undefined } = {},
  ): AsyncGenerator<PipelineEvent, TextWindows> {
    const { context, stride, whole: usually, cache, ...rest } = this.options;
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

export async function openTexts(options: TextsOptions): Promise<Texts> {
  return new Texts(options, await openTokenizer(options.tokenizer));
}

/** The first `limit` of them. */
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
