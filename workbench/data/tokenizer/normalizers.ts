// Normalizers: what is done to a text before it is split into pieces. Equal to those of Rust's `tokenizers`, with the
// versions of Unicode that it was built with.

import { z } from "zod";
import { compile, Pattern } from "./expression.ts";
import { openPrecompiled } from "./precompiled.ts";
import { AnyPart, type OpenPart, type Part, partOpener, readPart } from "./read-part.ts";
import { CONTROL, isAscii, MARK, NMT_CONTROL, NONSPACING_MARK, normalizeAsUnicode9 } from "./unicode.ts";

/** Changes a text. */
export interface Normalizer {
  normalize(text: string): string;
  /**
   * whether the first character of the normalized text comes from a later place than the start of the text, so that
   * Metaspace does not treat it as the first
   */
  movesStart(text: string): boolean;
}

/** A normalizer that replaces characters and removes none at the start. */
function simple(normalize: (text: string) => string): Normalizer {
  return { normalize, movesStart: () => false };
}

/** A normalizer that removes characters. @param removed with the flag `g` */
function removing(removed: RegExp, after: (text: string) => string = (text) => text): Normalizer {
  const start = new RegExp(`^(?:${removed.source})`, removed.flags.replace("g", ""));
  return { normalize: (text) => after(text.replace(removed, "")), movesStart: (text) => start.test(text) };
}

/** A normalizer that applies others one after the other. */
function sequence(parts: readonly Normalizer[]): Normalizer {
  return {
    normalize: (text) => parts.reduce((normal, part) => part.normalize(normal), text),
    movesStart: (text) => {
      let [normal, moved] = [text, false];
      for (const part of parts) {
        moved ||= part.movesStart(normal);
        normal = part.normalize(normal);
      }
      return moved;
    },
  };
}

/** Lowercase letters one by one: a final sigma is not special. */
function lowercase(text: string): string {
  return isAscii(text) ? text.toLowerCase() : text.replaceAll("\u03a3", "\u03c3").toLowerCase();
}

function form(name: Parameters<typeof normalizeAsUnicode9>[1]): OpenPart<Normalizer> {
  return () => simple((text) => (isAscii(text) ? text : normalizeAsUnicode9(text, name)));
}

const open: OpenPart<Normalizer> = partOpener<Normalizer>("normalizer", {
  Sequence: (part, depth) => {
    const { normalizers } = readPart(z.object({ normalizers: z.array(AnyPart) }), part, "normalizer Sequence");
    return sequence(normalizers.map((inner) => open(inner, depth + 1)));
  },
  NFC: form("NFC"),
  NFD: form("NFD"),
  NFKC: form("NFKC"),
  NFKD: form("NFKD"),
  Lowercase: () => simple(lowercase),
  Prepend: (part) => {
    const { prepend } = readPart(z.object({ prepend: z.string() }), part, "normalizer Prepend");
    return simple((text) => (text === "" ? "" : prepend + text));
  },
  Replace: (part) => {
    const fields = z.object({ pattern: Pattern, content: z.string() });
    const { pattern, content } = readPart(fields, part, "normalizer Replace");
    const replace = replacing(pattern, content);
    const { spans } = compile(pattern);
    return {
      normalize: replace,
      movesStart: (text) => {
        const first = spans(text)[0];
        if (!first?.match) return false;
        return content === "" ? first.end > 0 : [...text.slice(0, first.end)].length > 1;
      },
    };
  },
  Strip: (part) => {
    const fields = z.object({ strip_left: z.boolean(), strip_right: z.boolean() });
    const { strip_left: left, strip_right: right } = readPart(fields, part, "normalizer Strip");
    return {
      normalize: (text) => {
        const start = left ? text.replace(/^\p{White_Space}+/u, "") : text;
        return right ? strippedEnd(start) : start;
      },
      movesStart: (text) => left && /^\p{White_Space}/u.test(text),
    };
  },
  StripAccents: () => removing(new RegExp(MARK, "gv")),
  Nmt: () => {
    const spaces = /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g;
    return removing(new RegExp(NMT_CONTROL, "gu"), (text) => text.replace(spaces, " "));
  },
  BertNormalizer: openBert,
  Precompiled: (part) => {
    const fields = z.object({ precompiled_charsmap: z.string() });
    const map = readPart(fields, part, "normalizer Precompiled").precompiled_charsmap;
    return simple(openPrecompiled(map));
  },
});

/** Opens the normalizer of a tokenizer.json. @throws Error if it is not supported or damaged */
export function openNormalizer(part: Part | null): Normalizer | undefined {
  return part === null ? undefined : open(part, 0);
}

/** The function that replaces the matches of a pattern by a text. */
export function replacing(pattern: z.infer<typeof Pattern>, content: string): (text: string) => string {
  if ("String" in pattern && pattern.String !== "") return (text) => text.replaceAll(pattern.String, () => content);
  const { spans } = compile(pattern);
  return (text) =>
    spans(text)
      .map(({ start, end, match }) => (match ? content : text.slice(start, end)))
      .join("");
}

/** Without white space at the end; an expression that ends in `$` would take quadratic time. */
export function strippedEnd(text: string): string {
  let end = text.length;
  while (end > 0 && /\p{White_Space}/u.test(text[end - 1] as string)) end--;
  return text.slice(0, end);
}

const CHINESE = "\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{2a6df}\\u{2a700}-\\u{2b81f}";

function openBert(part: Part): Normalizer {
  const fields = z.object({
    clean_text: z.boolean(),
    handle_chinese_chars: z.boolean(),
    strip_accents: z.boolean().nullish(),
    lowercase: z.boolean(),
  });
  const bert = readPart(fields, part, "normalizer BertNormalizer");
  const parts: Normalizer[] = [];
  if (bert.clean_text) {
    parts.push(removing(new RegExp(CONTROL, "gu"), (text) => text.replace(/\p{White_Space}/gu, " ")));
  }
  if (bert.handle_chinese_chars) {
    const chinese = new RegExp(`[${CHINESE}\\u{2b920}-\\u{2ceaf}\\u{2f800}-\\u{2fa1f}]`, "gu");
    parts.push(simple((text) => text.replace(chinese, " $& ")));
  }
  if (bert.strip_accents ?? bert.lowercase) {
    parts.push(
      simple((text) => normalizeAsUnicode9(text, "NFD")),
      removing(new RegExp(NONSPACING_MARK, "gv")),
    );
  }
  if (bert.lowercase) parts.push(simple(lowercase));
  return sequence(parts);
}
