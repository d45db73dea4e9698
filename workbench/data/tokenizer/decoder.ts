// Decodes ids to text, whole or one at a time.

import type { DecodeOptions, StreamDecoder, StreamOptions } from "../types.ts";
import { bytesOf, openChain, type Step } from "./decoder-steps.ts";
import type { Part } from "./read-part.ts";

/** What a decoder has to know of the vocabulary. */
export interface TokenNames {
  /** the token with an id */
  tokenOf(id: number): string | undefined;
  /** whether a token is special */
  isSpecial(token: string): boolean;
}

interface Decoder {
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  stream(options?: StreamOptions): StreamDecoder;
  /** returns the UTF-8 bytes of one token; undefined if the vocabulary is not byte-level */
  readonly bytes: ((id: number) => Uint8Array) | undefined;
}

/** Opens the decoder of a tokenizer. @throws Error if it is not supported or damaged */
export function openDecoder(part: Part | null, names: TokenNames): Decoder {
  const chain = openChain(part);
  const token = (id: number): string => {
    const found = names.tokenOf(id);
    if (found !== undefined) return found;
    throw new RangeError(`the tokenizer has no token with id ${id}`);
  };
  const pushing = (step: Step, { skipSpecialTokens = false }: DecodeOptions) => {
    return (id: number): string => {
      const next = token(id);
      return skipSpecialTokens && names.isSpecial(next) ? "" : step.push(next).join("");
    };
  };
  const stream = ({ after = [], ...options }: StreamOptions = {}): StreamDecoder => {
    const step = chain.start();
    const push = pushing(step, options);
    for (let i = 0; i < after.length; i++) push(after[i] as number);
    return { push, end: () => step.end().join("") };
  };
  const decode = (ids: ArrayLike<number>, options: DecodeOptions = {}): string => {
    const step = chain.start();
    const push = pushing(step, options);
    let text = "";
    for (let i = 0; i < ids.length; i++) text += push(ids[i] as number);
    return text + step.end().join("");
  };
  const known: Uint8Array[] = [];
  const bytes = (id: number): Uint8Array => {
    known[id] ??= bytesOf(token(id));
    return known[id];
  };
  return { decode, stream, bytes: part?.type === "ByteLevel" ? bytes : undefined };
}
