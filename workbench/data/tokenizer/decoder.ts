// Decodes ids to text. Tokens of a byte-level vocabulary are decoded from their bytes, so that a character whose bytes
// are spread over two tokens is decoded correctly in a stream. Other vocabularies are decoded by the library.

import type { Tokenizer as Library } from "@huggingface/tokenizers";
import type { StreamDecoder } from "../types.ts";
import { fromByteLevel } from "./byte-level-bpe.ts";
import type { TokenizerDefinition } from "./definition.ts";

interface Decoder {
  decode(ids: ArrayLike<number>): string;
  stream(): StreamDecoder;
  /** returns the UTF-8 bytes of one token; undefined if the vocabulary is not byte-level */
  readonly bytes: ((id: number) => Uint8Array) | undefined;
}

/** Opens the decoder of a tokenizer. */
export function openDecoder(library: Library, definition: TokenizerDefinition): Decoder {
  return definition.decoder?.type === "ByteLevel" ? byBytes(library) : byLibrary(library);
}

/** Decodes tokens of a byte-level vocabulary from their bytes. */
function byBytes(library: Library): Decoder {
  const known: Uint8Array[] = [];
  const added = library.get_added_tokens_decoder();
  const bytes = (id: number): Uint8Array => {
    known[id] ??= bytesOf(tokenOf(library, id), added.has(id));
    return known[id];
  };
  const stream = (): StreamDecoder => {
    const text = newTextDecoder();
    return { push: (id) => text.decode(bytes(id), { stream: true }), end: () => text.decode() };
  };
  const decode = (ids: ArrayLike<number>): string => {
    const text = newTextDecoder();
    let decoded = "";
    for (let start = 0; start < ids.length; start += PART) {
      const part = Array.from({ length: Math.min(PART, ids.length - start) }, (_, i) =>
        bytes(ids[start + i] as number),
      );
      decoded += text.decode(joined(part), { stream: true });
    }
    return decoded + text.decode();
  };
  return { decode, stream, bytes };
}

/** Tokens decoded at a time. */
const PART = 8192;

/** Decodes tokens with the library. */
function byLibrary(library: Library): Decoder {
  const decode = (ids: ArrayLike<number>): string => {
    if (ids.length === 0) return "";
    const list = Array.from(ids);
    for (const id of list) tokenOf(library, id);
    return library.decode(list, { clean_up_tokenization_spaces: false });
  };
  const stream = (): StreamDecoder => {
    const ids: number[] = [];
    let shown = 0;
    const rest = (text: string) => {
      const more = text.slice(shown);
      shown = text.length;
      return more;
    };
    return {
      push: (id) => {
        ids.push(id);
        const text = decode(ids);
        // An incomplete character is decoded as U+FFFD until its last byte has come.
        return text.endsWith("\ufffd") || text.length < shown ? "" : rest(text);
      },
      end: () => rest(decode(ids)),
    };
  };
  return { decode, stream, bytes: undefined };
}

function tokenOf(library: Library, id: number): string {
  const token = library.id_to_token(id);
  if (token !== undefined) return token;
  throw new RangeError(`the tokenizer has no token with id ${id}`);
}

function bytesOf(token: string, added: boolean): Uint8Array {
  return (added ? undefined : fromByteLevel(token)) ?? new TextEncoder().encode(token);
}

function newTextDecoder(): TextDecoder {
  return new TextDecoder("utf-8", { ignoreBOM: true });
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((bytes, part) => bytes + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}
