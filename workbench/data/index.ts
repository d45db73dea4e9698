// Text for language models: data sets laid out as on the Hub, tokenized once, kept as files of ids, read in windows.
// Images are not here.

export { splitFilesOf } from "./dataset/folder.ts";
export { dataFilePatterns } from "./dataset/split-files.ts";
export { DataError } from "./errors.ts";
export { openTokenizer } from "./tokenizer/open-tokenizer.ts";
export { openTextTokens } from "./tokens/open-text-tokens.ts";
export { openTokenFile } from "./tokens/token-file.ts";
export { tokenWindows, wordsAndBytes } from "./tokens/token-windows.ts";
export type {
  StreamDecoder,
  TextCounts,
  TextTokensOptions,
  TextWindows,
  TokenFile,
  TokenizeEvent,
  Tokenizer,
  TokenWindows,
} from "./types.ts";
