// Added tokens: special tokens and words that are found in a text before it is split into pieces.

import { z } from "zod";
import { escaped } from "./expression.ts";
import type { Model } from "./model.ts";
import { type Normalizer, strippedEnd } from "./normalizers.ts";
import { readPart } from "./read-part.ts";
import { RUST_WORD } from "./unicode.ts";

const Fields = z.object({
  id: z.int().min(0),
  content: z.string(),
  single_word: z.boolean().nullish(),
  lstrip: z.boolean().nullish(),
  rstrip: z.boolean().nullish(),
  normalized: z.boolean().nullish(),
  special: z.boolean().nullish(),
});

/** An added token. */
interface AddedToken {
  id: number;
  content: string;
  /** text that is found: normalized, if the token is looked for in normalized text */
  pattern: string;
  singleWord: boolean;
  /** whether it takes in the white space on its left */
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

/** A part of a text: an added token, or text between added tokens. */
export type Section = { id: number } | { text: string; atStart: boolean };

/** The added tokens of a tokenizer. */
export interface AddedTokens {
  /** added tokens by id */
  readonly byId: ReadonlyMap<number, Readonly<AddedToken>>;
  /** ids by content */
  readonly ids: ReadonlyMap<string, number>;
  /** normalizes a text and divides it at added tokens; empty texts are left out */
  sections(text: string): readonly Section[];
}

/**
 * Reads the added tokens. A token that is not in the vocabulary has the next free id, as in Rust, whatever the id that
 * is written beside it.
 * @throws Error if one is damaged
 */
export function openAddedTokens(
  tokens: readonly unknown[],
  { model, normalizer }: { model: Pick<Model, "vocabulary" | "list">; normalizer: Normalizer | undefined },
): AddedTokens {
  const byId = new Map<number, AddedToken>();
  const ids = new Map<string, number>();
  const { vocabulary, list } = model;
  let next = list?.length ?? vocabulary.size;
  for (const token of tokens) {
    const read = readPart(Fields, token, "added token");
    if (read.content === "") continue;
    const id = ids.get(read.content) ?? vocabulary.get(read.content) ?? next++;
    const special = read.special ?? false;
    const normalized = read.normalized ?? !special;
    const pattern = normalized && normalizer ? normalizer.normalize(read.content) : read.content;
    const [singleWord, lstrip, rstrip] = [read.single_word ?? false, read.lstrip ?? false, read.rstrip ?? false];
    byId.set(id, { id, content: read.content, pattern, singleWord, lstrip, rstrip, normalized, special });
    ids.set(read.content, id);
  }
  const all = [...byId.values()];
  const plain = finderOf(all.filter(({ normalized }) => !normalized));
  const normal = finderOf(all.filter(({ normalized }) => normalized));
  const normalize = (text: string, atStart: boolean): readonly Section[] => {
    if (normalizer === undefined) return normal(text, atStart);
    return normal(normalizer.normalize(text), atStart && !normalizer.movesStart(text));
  };
  return {
    byId,
    ids,
    sections: (text) => {
      const found = plain(text, true);
      if (found.length === 1 && !("id" in (found[0] as Section))) return normalize(text, true);
      return found.flatMap((section) => ("id" in section ? [section] : normalize(section.text, section.atStart)));
    },
  };
}

type Finder = (text: string, atStart: boolean) => Section[];

const STARTS_WITH_WORD = new RegExp(`^[${RUST_WORD}]`, "u");
const ENDS_WITH_WORD = new RegExp(`[${RUST_WORD}]$`, "u");

/** Returns the function that divides a text at tokens: the leftmost one first, and of these the longest. */
function finderOf(tokens: readonly AddedToken[]): Finder {
  const byPattern = new Map<string, AddedToken>();
  for (const token of tokens) if (token.pattern !== "") byPattern.set(token.pattern, token);
  const longestFirst = [...byPattern.keys()].sort((a, b) => b.length - a.length);
  const whole = (text: string, atStart: boolean) => (text === "" ? [] : [{ text, atStart }]);
  if (longestFirst.length === 0) return whole;
  // The lookahead rejects most positions, so that the alternatives are tried at few.
  const starts = [...new Set(longestFirst.map((pattern) => unit(pattern.charCodeAt(0))))].join("");
  const any = new RegExp(`(?=[${starts}])(?:${longestFirst.map(escaped).join("|")})`, "g");
  const spansOf = (text: string) => tokenSpans(text, any, byPattern);
  return (text, atStart) => {
    if (text.search(any) < 0) return whole(text, atStart);
    const sections: Section[] = [];
    let last = 0;
    for (const { start, end, id } of spansOf(text)) {
      if (last < start) sections.push({ text: text.slice(last, start), atStart: atStart && last === 0 });
      sections.push({ id });
      last = end;
    }
    if (last < text.length) sections.push({ text: text.slice(last), atStart: atStart && last === 0 });
    return sections;
  };
}

function tokenSpans(
  text: string,
  any: RegExp,
  tokens: ReadonlyMap<string, AddedToken>,
): { start: number; end: number; id: number }[] {
  const spans: { start: number; end: number; id: number }[] = [];
  let last = 0;
  for (const { index, 0: found } of text.matchAll(any)) {
    const token = tokens.get(found) as AddedToken;
    let [start, end] = [index, index + found.length];
    const [before, after] = [text.slice(Math.max(0, start - 2), start), text.slice(end, end + 2)];
    if (token.singleWord && (ENDS_WITH_WORD.test(before) || STARTS_WITH_WORD.test(after))) continue;
    if (token.lstrip) start = Math.max(last, strippedEnd(text.slice(0, start)).length);
    if (token.rstrip) end += (/^\p{White_Space}*/u.exec(text.slice(end))?.[0] ?? "").length;
    spans.push({ start, end, id: token.id });
    last = end;
  }
  return spans;
}

function unit(code: number): string {
  return `\\u${code.toString(16).padStart(4, "0")}`;
}
