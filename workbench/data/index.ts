// Text for language models: data sets laid out as on the Hub are tokenized once, stored in token files, and read in
// windows. This is the public interface for text; that for images is images/index.ts.

export { type ChatMessage, type ChatTemplate, openChatTemplate, type RenderOptions } from "./chat/chat-template.ts";
export { readSpecialTokens } from "./chat/template-files.ts";
export { pathsIn, splitFilesOf } from "./dataset/folder.ts";
export { dataFilePatterns, splitFiles } from "./dataset/split-files.ts";
export { DataError, MissingSplitError } from "./errors.ts";
export { firstPass } from "./stream/lanes.ts";
export { openTokenStream, type TokenStream, type TokenStreamOptions } from "./stream/open-token-stream.ts";
export { expectRows, holdOutLast, type LaneSizes, type StreamFile, type StreamShare } from "./stream/stream-file.ts";
export { type TextStream, textStream } from "./text-stream.ts";
export { openTokenizer } from "./tokenizer/open-tokenizer.ts";
export { openTextTokens } from "./tokens/open-text-tokens.ts";
export { tokenWindows, wordsAndBytes } from "./tokens/token-windows.ts";
export type { TextWindows, TokenFile, TokenizeEvent, Tokenizer } from "./types.ts";
