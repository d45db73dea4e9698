// Windows of a file of token ids: `context` inputs and as many targets, the inputs shifted by one. An incomplete last
// window is dropped. Windows may overlap; which targets are new is said, so that no token is scored twice.

import type { TextCounts, TextWindows, TokenFile, Tokenizer } from "./types.ts";
import { WordCounter } from "./words.ts";

/**
 * @param options.context inputs of a window, tokens
 * @param options.stride tokens from one window's start to the next one's, 1 to `context`; default `context`
 * @throws RangeError on a context or stride that makes no windows
 */
export function tokenWindows(
  tokens: TokenFile,
  { context, stride = context }: { context: number; stride?: number | undefined },
): TextWindows {
  if (!Number.isInteger(context) || context < 1)
    throw new RangeError(`context ${context}: windows have 1 token or more`);
  if (!Number.isInteger(stride) || stride < 1 || stride > context) {
    throw new RangeError(`stride ${stride}: from 1 to the context, ${context}, or tokens would be skipped`);
  }
  const length = tokens.length > context ? Math.floor((tokens.length - 1 - context) / stride) + 1 : 0;
  const check = (i: number) => {
    if (Number.isInteger(i) && i >= 0 && i < length) return i;
    throw new RangeError(`window ${i}: there are ${length}`);
  };
  return {
    length,
    context,
    stride,
    scored: length === 0 ? 0 : context + (length - 1) * stride,
    read: async (i) => tokens.read(check(i) * stride, context + 1),
    newTargets: (i) => (check(i) === 0 ? context : stride),
  };
}

/** Words and bytes of the targets that count, over all windows or the first of them: one text, without its first token. */
export async function wordsAndBytes(
  windows: TextWindows,
  tokenizer: Tokenizer,
  { limit = windows.length }: { limit?: number | undefined } = {},
): Promise<TextCounts> {
  const counter = new WordCounter();
  const text = tokenizer.streamDecoder();
  let bytes = 0;
  for (let i = 0; i < Math.min(limit, windows.length); i++) {
    const fresh = (await windows.read(i)).slice(-windows.newTargets(i));
    bytes += tokenizer.textCounts(fresh).bytes;
    for (const id of fresh) counter.add(text.push(id));
  }
  counter.add(text.end());
  return { words: counter.words, bytes };
}
