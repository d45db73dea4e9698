// Token texts as OpenAI's protocol reports them: the text of each token alone, or its bytes where a token ends within a
// character.

import type { Tokenizer } from "../../data/index.ts";

/** The name of each token in answers. */
export type TokenNames = (id: number) => string;

/** A character that is incomplete decodes to this one. */
const REPLACEMENT = "\ufffd";

/**
 * Names of tokens, which are kept once computed.
 * @returns the text of a token behind others, so that a space at its start is kept; `bytes:\x…` if it is not whole UTF-8
 */
export function tokenNames(tokenizer: Tokenizer): TokenNames {
  const known = new Map<number, string>();
  // Decoders that drop the space at the start of a text have passed the start after this token.
  const [before = 0] = tokenizer.encode("a");
  return (id) => {
    const name = known.get(id) ?? nameOf(tokenizer, id, before);
    known.set(id, name);
    return name;
  };
}

function nameOf(tokenizer: Tokenizer, id: number, before: number): string {
  const decoder = tokenizer.streamDecoder({ after: [before] });
  const text = decoder.push(id) + decoder.end();
  if (!text.includes(REPLACEMENT)) return text;
  const bytes = tokenizer.bytesOf?.(id);
  if (!bytes) return text;
  return `bytes:${Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
}
