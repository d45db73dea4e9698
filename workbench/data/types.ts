// What the rest of the workbench knows of text: a tokenizer, a file of token ids, windows cut from it, and what reading a
// data set tells while it goes on. Interfaces only.

/** Words and bytes that a run of tokens stands for: what perplexity per word and per byte divide by. */
export interface TextCounts {
  /** maximal runs of characters that are no white space */
  words: number;
  /** of UTF-8 */
  bytes: number;
}

/** Turns ids into text as they come. What it returns never ends inside a character. */
export interface StreamDecoder {
  /** text that is complete now; empty while a character is unfinished */
  push(id: number): string;
  /** the rest: an unfinished character becomes U+FFFD */
  end(): string;
}

export interface Tokenizer {
  /** folder that holds its tokenizer.json */
  readonly folder: string;
  /** one more than the largest id */
  readonly vocabSize: number;
  /** id that ends a text, if the tokenizer has one */
  readonly eosTokenId: number | undefined;
  /** Whether pieces are memoised: byte-level BPE. Other kinds go through the library, text by text. */
  readonly fast: boolean;
  /** ids of a text by itself; added tokens in it are found, none is added */
  encode(text: string): Int32Array;
  /** text of ids, byte for byte: nothing is cleaned up, special tokens are kept. @throws RangeError on an unknown id */
  decode(ids: ArrayLike<number>): string;
  streamDecoder(): StreamDecoder;
  textCounts(ids: ArrayLike<number>): TextCounts;
}

/** Token ids on disk, one long list. */
export interface TokenFile {
  readonly path: string;
  /** ids */
  readonly length: number;
  /** one more than the largest id that its tokenizer knows */
  readonly vocabSize: number;
  /** of the text that was tokenized */
  readonly counts: TextCounts & { rows: number };
  /** ids `start` … `start + count`, copied. @throws RangeError outside the file */
  read(start: number, count: number): Promise<Int32Array>;
  close(): Promise<void>;
}

/** Windows that may overlap: each says how many of its last targets no earlier window had. */
export interface TextWindows extends TokenWindows {
  /** tokens between the starts of two windows */
  readonly stride: number;
  /** targets that count, over all windows; each token at most once */
  readonly scored: number;
  /** targets of the text that no window has */
  readonly leftOut: number;
  /** of window i, the last so many targets are new */
  newTargets(i: number): number;
}

export interface TextTokensOptions {
  /** folder of the data set, laid out as on the Hub; its files may be links */
  dataset: string;
  /** default the only one, or the one that the data set calls its default */
  config?: string | undefined;
  /** `train`, `validation`, `test`, … */
  split: string;
  /** column of the text; default `text`. Plain text files have no columns. */
  column?: string | undefined;
  /** of files of text and of JSON, a name of the Encoding Standard. Default UTF-8 */
  encoding?: string | undefined;
  /** folder with tokenizer.json */
  tokenizer: string;
  /** folder for files of token ids; made when it is not there */
  cache: string;
  /** worker threads, 0 for none; default none for small texts, else one a core, at most 16. Changes no id. */
  workers?: number | undefined;
  signal?: AbortSignal | undefined;
}

export type TokenizeEvent =
  | {
      kind: "data";
      config: string;
      split: string;
      /** paths below the data set's folder, in reading order */
      files: string[];
    }
  | {
      kind: "tokenizing";
      /** of the files, 0 to 1 */
      fraction: number;
      rows: number;
      /** of text, UTF-8 */
      bytes: number;
      tokens: number;
      bytesPerSecond: number;
      /** threads at work, 0 when it is done in this one */
      workers: number;
    }
  | {
      kind: "tokens";
      tokens: TokenFile;
      /** whether the file was there already */
      cached: boolean;
    };

// Token ids as language models are trained and evaluated on: one long list, cut into windows whose targets are their
// inputs shifted by one. Where ids come from is not known here.

export interface TokenWindows {
  /** how many windows */
  readonly length: number;
  /** tokens of each; the last one may have fewer where the text ends */
  readonly context: number;
  /** ids of window i: `context` inputs and as many targets, together `context + 1` ids, fewer at the text's end */
  read(i: number): Promise<Int32Array>;
}
