// Expressions of a tokenizer.json as JavaScript's. Oniguruma's syntax is translated by the library
// (@huggingface/tokenizers); its classes are those of Unicode 16.

import { SplitPreTokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { scannerFor } from "./scanner.ts";
import { asUnicode16 } from "./unicode.ts";

/** A pattern as Split and Replace have it. */
export const Pattern = z.union([z.object({ Regex: z.string() }), z.object({ String: z.string() })]);

/** A part of a text, in UTF-16 units, and whether the expression matches it. */
export interface Span {
  start: number;
  end: number;
  match: boolean;
}

/** Cuts texts at the matches of an expression. */
export interface Expression {
  /** all parts of a text in order: matches and what lies between them. An empty match has an empty span */
  spans(text: string): Span[];
  /** the parts of a text as strings, without empty ones */
  parts(text: string): readonly string[];
}

/** Compiles a pattern. @throws Error if the expression cannot be translated */
export function compile(pattern: z.infer<typeof Pattern>): Expression {
  if ("String" in pattern) return expression(new RegExp(escaped(pattern.String), "gu"));
  const scan = scannerFor(pattern.Regex);
  const compiled = expression(translated(pattern.Regex));
  return scan ? { ...compiled, parts: scan } : compiled;
}

/** The source of an expression that matches a text, outside of character classes. */
export function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

/** An expression of JavaScript, with the flags `g` and `u` or `v`. */
export function expression(regex: RegExp): Expression {
  const spans = (text: string) => spansOf(regex, text);
  return {
    spans,
    parts: (text) => {
      // Most expressions match all of the text.
      const whole = asUnicode16(text);
      const matches = whole === text ? (text.match(regex) ?? []) : [];
      let length = 0;
      for (const match of matches) length += match.length;
      if (length === text.length && (matches as string[]).every((match) => match !== "")) return matches;
      return spans(text)
        .filter(({ start, end }) => end > start)
        .map(({ start, end }) => text.slice(start, end));
    },
  };
}

function spansOf(regex: RegExp, text: string): Span[] {
  const spans: Span[] = [];
  let last = 0;
  let afterMatch = false;
  for (const { index, 0: found } of asUnicode16(text).matchAll(regex)) {
    // As in Rust, no empty match follows a match directly.
    if (found === "" && afterMatch && index === last) continue;
    if (index > last) spans.push({ start: last, end: index, match: false });
    last = index + found.length;
    spans.push({ start: index, end: last, match: true });
    afterMatch = true;
  }
  if (last < text.length) spans.push({ start: last, end: text.length, match: false });
  return spans;
}

type SplitConfig = ConstructorParameters<typeof SplitPreTokenizer>[0];

/** Letters that Oniguruma takes for `k` and `s` where case does not matter; the library folds ASCII only. */
const FOLDED: [RegExp, string][] = [
  [/\[kK\]/g, "[kK\u212a]"],
  [/\[sS\]/g, "[sS\u017f]"],
];

function translated(source: string): RegExp {
  const config = { type: "Split", pattern: { Regex: source }, behavior: "Isolated", invert: false };
  const { pattern } = new SplitPreTokenizer(config as unknown as SplitConfig);
  if (!(pattern instanceof RegExp)) throw new Error(`the expression ${JSON.stringify(source)} is not supported`);
  const folded = FOLDED.reduce((text, [from, to]) => text.replace(from, to), pattern.source);
  return new RegExp(folded, pattern.flags);
}
