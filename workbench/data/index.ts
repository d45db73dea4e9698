// Text for language models: data sets laid out as on the Hub, tokenised once, kept as files of ids, read in windows.
//
//   openTextTokens(options: TextTokensOptions): AsyncGenerator<TokeniseEvent>      the last event holds the tokens
//   tokenWindows(tokens: TokenFile, { context, stride? }): TextWindows
//   openTokenizer(folder: string): Promise<Tokenizer>
//   wordsAndBytes(windows: TextWindows, tokenizer: Tokenizer): Promise<TextCounts>  of the targets that count
//   dataFilePatterns({ readme?, files?, config?, split }): string[]                what to pull for a split

export type { TokenWindows } from "./token-windows.ts";
export type {
  StreamDecoder,
  TextCounts,
  TextTokensOptions,
  TextWindows,
  TokenFile,
  TokeniseEvent,
  Tokenizer,
} from "./types.ts";
