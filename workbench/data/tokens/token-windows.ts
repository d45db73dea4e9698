// Cuts a token file into windows of `context` inputs and as many targets, which are the inputs shifted by one. The
// remaining tokens at the end form a shorter last window, or are dropped on request. If windows overlap, only the new
// targets of each are scored.

import { WordCounter } from "../tokenizer/word-counter.ts";
import type { TextCounts, TextWindows, TokenFile, Tokenizer } from "../types.ts";

interface TokenWindowsOptions {
  /** inputs per window, tokens */
  context: number;
  /** tokens between the starts of two windows, 1 to `context`. Default `context` */
  stride?: number | undefined;
  /** only whole windows, as in training and in most published results; later targets are left out. Default false */
  whole?: boolean | undefined;
}

/**
 * Windows of a token file. By default every token except the first is a target exactly once.
 * @throws RangeError on an invalid context or stride
 */
export function tokenWindows(
  tokens: TokenFile,
  { context, stride = context, whole = false }: TokenWindowsOptions,
): TextWindows {
  if (!Number.isInteger(context) || context < 1)
    throw new RangeError(`context ${context}: expected a whole number, 1 or more`);
  if (!Number.isInteger(stride) || stride < 1 || stride > context) {
    throw new RangeError(`stride ${stride}: expected 1 to the context, ${context}; a larger one would skip tokens`);
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

/**
 * Words and bytes of the new targets of all windows, taken as one text. This is the tokenized text without its first
 * token.
 * @param options.limit number of windows. Default all
 */
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
