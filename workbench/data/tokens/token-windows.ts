// Windows of a file of token ids: `context` inputs and as many targets, the inputs shifted by one. What is left at the end
// is a last window that is shorter, or dropped on request. Windows may overlap; which targets are new is said, so that no
// token is scored twice.

import { WordCounter } from "../tokenizer/word-counter.ts";
import type { TextCounts, TextWindows, TokenFile, Tokenizer } from "../types.ts";

export interface TokenWindowsOptions {
  /** inputs of a window, tokens */
  context: number;
  /** tokens from one window's start to the next one's, 1 to `context`. Default `context` */
  stride?: number | undefined;
  /** whole windows only, as published tables count and as training needs: the targets after the last one are left out */
  whole?: boolean | undefined;
}

/**
 * By default every token but the first is a target once.
 * @throws RangeError on a context or stride that makes no windows
 */
export function tokenWindows(
  tokens: TokenFile,
  { context, stride = context, whole = false }: TokenWindowsOptions,
): TextWindows {
  if (!Number.isInteger(context) || context < 1)
    throw new RangeError(`context ${context}: windows have 1 token or more`);
  if (!Number.isInteger(stride) || stride < 1 || stride > context) {
    throw new RangeError(`stride ${stride}: from 1 to the context, ${context}, or tokens would be skipped`);
  }
  const targets = Math.max(0, tokens.length - 1);
  const wholeWindows = targets >= context ? Math.floor((targets - context) / stride) + 1 : 0;
  const inWhole = wholeWindows === 0 ? 0 : context + (wholeWindows - 1) * stride;
  const rest = whole ? 0 : targets - inWhole;
  const length = wholeWindows + (rest > 0 ? 1 : 0);
  const check = (i: number) => {
    if (Number.isInteger(i) && i >= 0 && i < length) return i;
    throw new RangeError(`window ${i}: there are ${length}`);
  };
  return {
    length,
    context,
    stride,
    scored: inWhole + rest,
    leftOut: targets - inWhole - rest,
    read: async (i) => tokens.read(check(i) * stride, Math.min(context + 1, tokens.length - i * stride)),
    newTargets: (i) => (check(i) === wholeWindows ? rest : i === 0 ? context : stride),
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
