// Text for language models: data sets laid out as on the Hub, tokenized once, kept as files of ids, read in windows.
// Images are not here.

export { dataFilePatterns } from "./dataset/data-files.ts";
export { splitFilesOf } from "./dataset/open-folder.ts";
export { DataError } from "./errors.ts";
export { openTextTokens } from "./open-text-tokens.ts";
export { openTokenFile } from "./token-file/open.ts";
export type { TokenWindows } from "./token-windows.ts";
export { openTokenizer } from "./tokenizer/open.ts";
export type {
  StreamDecoder,
  TextCounts,
  TextTokensOptions,
  TextWindows,
  TokenFile,
  TokenizeEvent,
  Tokenizer,
} from "./types.ts";
export { tokenWindows, wordsAndBytes } from "./windows.ts";
