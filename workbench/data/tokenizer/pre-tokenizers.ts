// Pre-tokenizers: they split a normalized text into pieces, each of which the model encodes by itself. Equal to those of
// Rust's `tokenizers`, with which models are trained.

import { z } from "zod";
import { toByteLevel } from "../../../hub/text/byte-level.ts";
import { compile, type Expression, expression, Pattern, type Span } from "./expression.ts";
import { AnyPart, type OpenPart, type Part, partOpener, readPart } from "./read-part.ts";
import { scanGpt2 } from "./scanner.ts";
import { PUNCTUATION, RUST_WORD } from "./unicode.ts";

/**
 * Splits a text into pieces, none of which is empty.
 * @param atStart whether the text is the start of what is encoded
 */
export type Cut = (text: string, atStart: boolean) => readonly string[];

/** A pre-tokenizer. */
export interface PreTokenizer {
  cut: Cut;
  /** whether the pieces are plain text that the model has to convert to the byte-level alphabet */
  byteLevel: boolean;
}

/** How the matches of an expression become pieces. */
const Behavior = z.enum(["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]);

/** `\w+|[^\w\s]+` with the classes of Rust's `regex`. */
const WORDS = new RegExp(`[${RUST_WORD}]+|[^${RUST_WORD}\\p{White_Space}]+`, "gu");
const NOT_SPACE = /\P{White_Space}+/gu;

const plain = (cut: Cut): PreTokenizer => ({ cut, byteLevel: false });

const open: OpenPart<PreTokenizer> = partOpener<PreTokenizer>("pre_tokenizer", {
  Sequence: (part, depth) => {
    const fields = z.object({ pretokenizers: z.array(AnyPart) });
    const { pretokenizers } = readPart(fields, part, "pre_tokenizer Sequence");
    return inSequence(pretokenizers.map((inner) => open(inner, depth + 1)));
  },
  ByteLevel: (part) => {
    const fields = z.object({ add_prefix_space: z.boolean().nullish(), use_regex: z.boolean().nullish() });
    const { add_prefix_space: prefix, use_regex: regex } = readPart(fields, part, "pre_tokenizer ByteLevel");
    const pieces = (text: string) => ((regex ?? true) ? scanGpt2(text) : [text]);
    return {
      byteLevel: true,
      cut: (text) => pieces(prefix && !text.startsWith(" ") ? ` ${text}` : text),
    };
  },
  Split: (part) => {
    const fields = z.object({ pattern: Pattern, behavior: Behavior, invert: z.boolean() });
    const { pattern, behavior, invert } = readPart(fields, part, "pre_tokenizer Split");
    return plain(splitting(compile(pattern), { behavior, invert }));
  },
  Digits: (part) => {
    const { individual_digits: each } = readPart(
      z.object({ individual_digits: z.boolean() }),
      part,
      "pre_tokenizer Digits",
    );
    const parts = each ? /\p{N}|\P{N}+/gu : /\p{N}+|\P{N}+/gu;
    return plain((text) => text.match(parts) ?? []);
  },
  Punctuation: (part) => {
    const fields = z.object({ behavior: Behavior.default("Isolated") });
    const { behavior } = readPart(fields, part, "pre_tokenizer Punctuation");
    return plain(splitting(expression(new RegExp(PUNCTUATION, "gv")), { behavior, invert: false }));
  },
  BertPreTokenizer: () => {
    const pieces = new RegExp(`${PUNCTUATION}|[[\\P{White_Space}]--${PUNCTUATION}]+`, "gv");
    return plain((text) => text.match(pieces) ?? []);
  },
  Whitespace: () => {
    return plain(splitting(expression(WORDS), { behavior: "Removed", invert: true }));
  },
  WhitespaceSplit: () => plain((text) => text.match(NOT_SPACE) ?? []),
  CharDelimiterSplit: (part) => {
    const { delimiter } = readPart(z.object({ delimiter: z.string() }), part, "pre_tokenizer CharDelimiterSplit");
    if ([...delimiter].length !== 1) throw new Error("pre_tokenizer CharDelimiterSplit: delimiter: not one character");
    return plain((text) => text.split(delimiter).filter((piece) => piece !== ""));
  },
  FixedLength: (part) => {
    const fields = z.object({ length: z.int().min(1).default(5) });
    const { length } = readPart(fields, part, "pre_tokenizer FixedLength");
    return plain((text) => {
      const characters = [...text];
      const count = Math.ceil(characters.length / length);
      return Array.from({ length: count }, (_, i) => characters.slice(i * length, (i + 1) * length).join(""));
    });
  },
  Metaspace: openMetaspace,
});

/** Opens the pre-tokenizer of a tokenizer.json. @throws Error if it is not supported or damaged */
export function openPreTokenizer(part: Part | null): PreTokenizer {
  return part === null ? plain((text) => [text]) : open(part, 0);
}

function inSequence(parts: readonly PreTokenizer[]): PreTokenizer {
  const last = parts.at(-1);
  const mapped = parts.map((part) => (part.byteLevel && part !== last ? inAlphabet(part.cut) : part.cut));
  const cut: Cut = (text, atStart) => {
    let pieces: readonly string[] = [text];
    let first = atStart;
    for (const one of mapped) {
      const before = pieces[0];
      pieces =
        pieces.length === 1 ? one(before as string, first) : pieces.flatMap((piece, i) => one(piece, first && i === 0));
      // A part that removes the start of the text leaves no piece at the start.
      first &&= before !== undefined && (before.startsWith(pieces[0] ?? "") || !before.includes(pieces[0] ?? ""));
    }
    return pieces;
  };
  return { cut, byteLevel: last?.byteLevel ?? false };
}

function inAlphabet(cut: Cut): Cut {
  return (text, atStart) => cut(text, atStart).map(toByteLevel);
}

interface Splitting {
  behavior: z.infer<typeof Behavior>;
  /** whether matches and what lies between them change places */
  invert: boolean;
}

function splitting(pattern: Expression, { behavior, invert }: Splitting): Cut {
  if (behavior === "Isolated") return (text) => pattern.parts(text);
  const merge = MERGES[behavior];
  return (text) => {
    const spans = pattern.spans(text).map((span) => ({ ...span, match: span.match !== invert }));
    return merge(spans)
      .filter(({ start, end }) => end > start)
      .map(({ start, end }) => text.slice(start, end));
  };
}

type Merge = (spans: readonly Span[]) => Span[];

const MERGES: Record<Exclude<z.infer<typeof Behavior>, "Isolated">, Merge> = {
  Removed: (spans) => spans.filter(({ match }) => !match),
  Contiguous: (spans) => joined(spans, (span, before) => span.match === before),
  MergedWithPrevious: (spans) => joined(spans, (span, before) => span.match && !before),
  MergedWithNext: (spans) => {
    const reversed = spans.toReversed().map(({ start, end, match }) => ({ start: -end, end: -start, match }));
    const merged = joined(reversed, (span, before) => span.match && !before);
    return merged.toReversed().map(({ start, end, match }) => ({ start: -end, end: -start, match }));
  },
};

/** Joins spans with those before them. @param joins `before`: whether the span before was a match */
function joined(spans: readonly Span[], joins: (span: Span, before: boolean) => boolean): Span[] {
  const merged: Span[] = [];
  let before = false;
  for (const span of spans) {
    const last = merged.at(-1);
    if (last && joins(span, before)) last.end = span.end;
    else merged.push({ ...span });
    before = span.match;
  }
  return merged;
}

function openMetaspace(part: Part): PreTokenizer {
  const fields = z.object({
    replacement: z.string(),
    add_prefix_space: z.boolean().nullish(),
    prepend_scheme: z.enum(["first", "always", "never"]).default("always"),
    split: z.boolean().nullish(),
  });
  const { replacement, add_prefix_space: prefix, ...read } = readPart(fields, part, "pre_tokenizer Metaspace");
  if ([...replacement].length !== 1) throw new Error("pre_tokenizer Metaspace: replacement: not one character");
  if (prefix === false && Object.hasOwn(part, "prepend_scheme") && read.prepend_scheme !== "never") {
    throw new Error("pre_tokenizer Metaspace: add_prefix_space and prepend_scheme contradict each other");
  }
  const scheme = prefix === false ? "never" : read.prepend_scheme;
  return plain((text, atStart) => {
    let marked = text.replaceAll(" ", replacement);
    const prepended = scheme === "always" || (scheme === "first" && atStart);
    if (prepended && !marked.startsWith(replacement)) marked = replacement + marked;
    return (read.split ?? true) ? startingWith(marked, replacement) : [marked];
  });
}

/** Splits a text before each occurrence of a character. */
function startingWith(text: string, character: string): string[] {
  const pieces: string[] = [];
  let start = 0;
  for (let next = text.indexOf(character, 1); next >= 0; next = text.indexOf(character, next + 1)) {
    pieces.push(text.slice(start, next));
    start = next;
  }
  pieces.push(text.slice(start));
  return pieces;
}
