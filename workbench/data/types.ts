// The interfaces of text data: tokenizer, token file, windows of tokens, and the options and events of opening a data
// set.

import type { ProcessGroup } from "../distributed/process-group.ts";

/** Words and bytes of the text of some tokens: the denominators of perplexity per word and per byte. */
export interface TextCounts {
  /** number of words: maximal runs of characters other than white space */
  words: number;
  /** number of bytes of the text in UTF-8 */
  bytes: number;
}

/** Options of encoding. */
export interface EncodeOptions {
  /** whether to insert the special tokens of the tokenizer's post-processor, such as a beginning of text. Default no */
  specialTokens?: boolean | undefined;
}

/** Options of decoding. */
export interface DecodeOptions {
  /** whether to leave out special tokens. Default no */
  skipSpecialTokens?: boolean | undefined;
}

/** Options of decoding ids one at a time. */
export interface StreamOptions extends DecodeOptions {
  /**
   * ids before the first one, such as those of a prompt. Their text is not returned. Many tokenizers drop a space at
   * the start of a text, which they keep after these ids
   */
  after?: ArrayLike<number> | undefined;
}

/** Decodes ids one at a time. The texts that it returns, joined, are the text of the whole list. */
export interface StreamDecoder {
  /** returns the text completed by this id; empty while a character is incomplete */
  push(id: number): string;
  /** returns the remaining text; an incomplete character becomes U+FFFD */
  end(): string;
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** folder with its tokenizer.json */
  readonly folder: string;
  /** largest id + 1 */
  readonly vocabSize: number;
  /** id of the end-of-text token, if there is one */
  readonly eosTokenId: number | undefined;
  /** encodes a text. Added tokens that occur in it are recognized */
  encode(text: string, options?: EncodeOptions): Int32Array;
  /** decodes ids, without a clean-up of spaces. @throws RangeError on an unknown id */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  streamDecoder(options?: StreamOptions): StreamDecoder;
  /** the UTF-8 bytes of one token. Undefined if the vocabulary is not byte-level */
  readonly bytesOf?: ((id: number) => Uint8Array) | undefined;
  /** the id of a token, whose text is as in the vocabulary */
  idOf(token: string): number | undefined;
  textCounts(ids: ArrayLike<number>): TextCounts;
}

/** A list of token ids on disk. */
export interface TokenFile {
  readonly path: string;
  /** number of ids */
  readonly length: number;
  /** largest id of the tokenizer + 1 */
  readonly vocabSize: number;
  /** rows, words and bytes of the text that was tokenized */
  readonly counts: TextCounts & { rows: number };
  /** returns a copy of the ids start … start + count - 1. @throws RangeError outside of the file */
  read(start: number, count: number): Promise<Int32Array>;
  close(): Promise<void>;
}

/** Windows that may overlap. Each knows how many of its last targets are new, so that no token is scored twice. */
export interface TextWindows extends TokenWindows {
  /** tokens between the starts of two windows */
  readonly stride: number;
  /** number of new targets over all windows; each token counts at most once */
  readonly scored: number;
  /** number of targets that are in no window */
  readonly leftOut: number;
  /** number of new targets of window i, which are its last ones */
  newTargets(i: number): number;
}

/** Options of `openTextTokens`. */
export interface TextTokensOptions {
  /** folder of the data set, laid out as on the Hub; files may be symbolic links */
  dataset: string;
  /** configuration. Default: the only one, or the one that the data set declares as default */
  config?: string | undefined;
  /** `train`, `validation`, `test`, … */
  split: string;
  /** column with the text. Default `text`. Ignored for plain text files */
  column?: string | undefined;
  /** encoding of text and JSON files, a name of the Encoding Standard such as `windows-1252`. Default UTF-8 */
  encoding?: string | undefined;
  /** folder with tokenizer.json */
  tokenizer: string;
  /** folder for token files; created if it does not exist */
  cache: string;
  /**
   * worker threads, 0 for none. Default: none for small texts, else one per core, at most 16. Ids do not depend on it. Of
   * several ranks on one machine each has a share of its cores
   */
  workers?: number | undefined;
  /**
   * the processes of the run, all of which open the same text at the same time: large texts are dealt over them, small
   * ones are tokenized once for each cache folder. Default: this one does all
   */
  ranks?: ProcessGroup | undefined;
  signal?: AbortSignal | undefined;
}

/** Progress of tokenizing a data set. */
export type TokenizeEvent =
  | {
      kind: "data";
      config: string;
      split: string;
      /** paths relative to the data set's folder, in reading order */
      files: string[];
    }
  | {
      kind: "tokenizing";
      /** share of the files that has been read, 0 to 1 */
      fraction: number;
      rows: number;
      /** bytes of text in UTF-8 */
      bytes: number;
      tokens: number;
      bytesPerSecond: number;
      /** worker threads alive; 0 if this thread does the work */
      workers: number;
    }
  | {
      kind: "tokens";
      tokens: TokenFile;
      /** whether the file existed already */
      cached: boolean;
    };

/**
 * A list of token ids cut into windows for training and evaluation. The targets of a window are its inputs shifted by
 * one.
 */
export interface TokenWindows {
  /** number of windows */
  readonly length: number;
  /** inputs of a window; the last window may have fewer */
  readonly context: number;
  /** reads window i: context + 1 ids, of which the first `context` are inputs and the last `context` are targets */
  read(i: number): Promise<Int32Array>;
}
