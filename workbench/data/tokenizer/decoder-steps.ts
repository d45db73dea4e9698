// Decoders: how the tokens of a list become text. Each step takes one token at a time, so that a stream of tokens gives
// the same text as the whole list. Equal to those of Rust's `tokenizers`.

import { Buffer } from "node:buffer";
import { z } from "zod";
import { fromByteLevel } from "../../../hub/text/byte-level.ts";
import { Pattern } from "./expression.ts";
import { replacing } from "./normalizers.ts";
import { AnyPart, type OpenPart, type Part, partOpener, readPart } from "./read-part.ts";

/** A step while it decodes one list. */
export interface Step {
  /** takes the next token and returns the tokens that are complete */
  push(token: string): readonly string[];
  /** returns the remaining tokens */
  end(): readonly string[];
}

/** A decoder. */
export interface Chain {
  /** starts a list */
  start(): Step;
  /** whether all tokens after this decoder are one token, which comes in parts */
  fuses: boolean;
  /** the same decoder for one token that comes in parts, if it need not wait for the whole token */
  afterFuse?: Chain;
}

/** A step that changes each token by itself. @param change gets the token and its position */
function each(change: (token: string, i: number) => string): Chain {
  const start = () => {
    let i = 0;
    return { push: (token: string) => [change(token, i++)], end: () => [] };
  };
  return { start, fuses: false };
}

/** A step that waits for the whole of one token that comes in parts. */
function afterFuse({ start }: Chain): Chain {
  return {
    fuses: true,
    start: () => {
      let whole = "";
      const push = (part: string) => {
        whole += part;
        return [];
      };
      const end = () => {
        const step = start();
        return [...step.push(whole), ...step.end()];
      };
      return { push, end };
    },
  };
}

const open: OpenPart<Chain> = partOpener<Chain>("decoder", {
  ByteLevel: () => ({ start: byteLevel, fuses: true }),
  ByteFallback: () => ({ start: byteFallback, fuses: false }),
  Fuse: () => ({ start: () => ({ push: (token) => [token], end: () => [] }), fuses: true }),
  Replace: (part) => {
    const { pattern, content } = readPart(z.object({ pattern: Pattern, content: z.string() }), part, "decoder Replace");
    return each(replacing(pattern, content));
  },
  Strip: (part) => {
    const fields = z.object({ content: z.string(), start: z.int().min(0), stop: z.int().min(0) });
    const { content, start, stop } = readPart(fields, part, "decoder Strip");
    const strip = each((token) => stripped(token, { content, start, stop }));
    return stop === 0 ? { ...strip, afterFuse: stripStart(content, start) } : strip;
  },
  Metaspace: (part) => {
    const fields = z.object({
      replacement: z.string(),
      add_prefix_space: z.boolean().nullish(),
      prepend_scheme: z.enum(["first", "always", "never"]).default("always"),
    });
    const {
      replacement,
      add_prefix_space: prefix,
      prepend_scheme: scheme,
    } = readPart(fields, part, "decoder Metaspace");
    const drops = scheme !== "never" && prefix !== false;
    return each((token, i) => token.replaceAll(replacement, i === 0 && drops ? "" : " "));
  },
  WordPiece: (part) => {
    const fields = z.object({ prefix: z.string().default("##"), cleanup: z.boolean().default(true) });
    const { prefix, cleanup } = readPart(fields, part, "decoder WordPiece");
    return each((token, i) => {
      const joined = i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      return cleanup ? cleaned(joined) : joined;
    });
  },
  BPEDecoder: (part) => {
    const { suffix } = readPart(z.object({ suffix: z.string() }), part, "decoder BPEDecoder");
    return { start: () => endOfWord(suffix), fuses: false };
  },
  Sequence: (part, depth) => {
    const { decoders } = readPart(z.object({ decoders: z.array(AnyPart) }), part, "decoder Sequence");
    return inSequence(decoders.map((inner) => open(inner, depth + 1)));
  },
});

/** Opens the decoder of a tokenizer.json; without one, tokens are joined by spaces. @throws Error if not supported */
export function openChain(part: Part | null): Chain {
  return part === null ? each((token, i) => (i === 0 ? token : ` ${token}`)) : open(part, 0);
}

function inSequence(parts: readonly Chain[]): Chain {
  const chains: Chain[] = [];
  let fused = false;
  for (const part of parts) {
    chains.push(fused ? (part.afterFuse ?? afterFuse(part)) : part);
    fused ||= part.fuses;
  }
  const start = (): Step => {
    const steps = chains.map((chain) => chain.start());
    const push = (token: string, from = 0) =>
      steps.slice(from).reduce<readonly string[]>((tokens, step) => tokens.flatMap((one) => step.push(one)), [token]);
    const end = () => steps.flatMap((step, i) => step.end().flatMap((token) => push(token, i + 1)));
    return { push: (token) => push(token), end };
  };
  return { start, fuses: fused };
}

/** Takes characters off the start of a text that comes in parts, as Llama's decoder does. */
function stripStart(content: string, most: number): Chain {
  const start = () => {
    let left = most;
    const push = (text: string) => {
      let at = 0;
      while (left > 0 && at < text.length) {
        left = text.startsWith(content, at) ? left - 1 : 0;
        if (text.startsWith(content, at)) at += content.length;
      }
      return [text.slice(at)];
    };
    return { push, end: () => [] };
  };
  return { start, fuses: true };
}

function stripped(token: string, { content, start, stop }: { content: string; start: number; stop: number }): string {
  let text = token;
  for (let i = 0; i < start && text.startsWith(content); i++) text = text.slice(content.length);
  for (let i = 0; i < stop && text.endsWith(content); i++) text = text.slice(0, text.length - content.length);
  return text;
}

/** Replacements of BERT's clean-up in this order, most of which remove spaces around punctuation. */
const CLEANED: [string, string][] = [
  [" .", "."],
  [" ?", "?"],
  [" !", "!"],
  [" ,", ","],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" do not", " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

function cleaned(text: string): string {
  return CLEANED.reduce((cleaner, [from, to]) => cleaner.replaceAll(from, to), text);
}

/** Bytes of a token: those of the byte-level alphabet, or those of its text. */
export function bytesOf(token: string): Uint8Array {
  return fromByteLevel(token) ?? Buffer.from(token);
}

function byteLevel(): Step {
  const text = new TextDecoder("utf-8", { ignoreBOM: true });
  return { push: (token) => [text.decode(bytesOf(token), { stream: true })], end: () => [text.decode()] };
}

/** Tokens of bytes that follow each other become text if they are UTF-8, else one U+FFFD each. */
function byteFallback(): Step {
  let bytes: number[] = [];
  const rest = (): string[] => {
    if (bytes.length === 0) return [];
    const run = Uint8Array.from(bytes);
    bytes = [];
    try {
      return [new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(run)];
    } catch {
      return Array.from(run, () => "\ufffd");
    }
  };
  const push = (token: string) => {
    const digits = /^<0x([\dA-Fa-f]{2})>$/.exec(token)?.[1];
    if (digits === undefined) return [...rest(), token];
    bytes.push(Number.parseInt(digits, 16));
    return [];
  };
  return { push, end: rest };
}

/** The end of a word is a space, but not at the last token. */
function endOfWord(suffix: string): Step {
  let last: string | undefined;
  const push = (token: string) => {
    const before = last === undefined ? [] : [last.replaceAll(suffix, " ")];
    last = token;
    return before;
  };
  return { push, end: () => (last === undefined ? [] : [last.replaceAll(suffix, "")]) };
}
