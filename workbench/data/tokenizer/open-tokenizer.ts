// Opens tokenizers of any kind, for encoding, decoding and counting words and bytes.

import type { EncodeOptions, TextCounts, Tokenizer } from "../types.ts";
import { openDecoder } from "./decoder.ts";
import { openFrom, readTokenizerFiles, type TokenizerConfig } from "./definition.ts";
import { openEncoder } from "./encoder.ts";
import { IdList } from "./id-list.ts";
import { WordCounter } from "./word-counter.ts";

/**
 * Opens a tokenizer.
 * @param folder folder with tokenizer.json and, optionally, tokenizer_config.json
 * @throws DataError if tokenizer.json is missing, damaged or of a kind that is not supported
 */
export async function openTokenizer(folder: string): Promise<Tokenizer> {
  const files = await readTokenizerFiles(folder);
  const encoder = openEncoder(folder, files);
  const decoder = openFrom(folder, () => openDecoder(files.definition.decoder, encoder));
  const encode = (text: string, options?: EncodeOptions) => {
    const ids = new IdList(16 + (text.length >> 2));
    encoder.encode(text, ids, options);
    return ids.take();
  };
  const textCounts = (ids: ArrayLike<number>): TextCounts => {
    const text = decoder.decode(ids);
    const counter = new WordCounter();
    counter.add(text);
    return { words: counter.words, bytes: countBytes(ids, text) };
  };
  // A token may end inside a character, so bytes are counted from tokens: the text has U+FFFD there.
  const countBytes = (ids: ArrayLike<number>, text: string) => {
    if (!decoder.bytes) return new TextEncoder().encode(text).byteLength;
    let bytes = 0;
    for (let i = 0; i < ids.length; i++) bytes += decoder.bytes(ids[i] as number).byteLength;
    return bytes;
  };
  return {
    folder,
    vocabSize: encoder.vocabSize,
    eosTokenId: eosTokenId(files.config, encoder.idOf),
    encode,
    decode: decoder.decode,
    streamDecoder: decoder.stream,
    bytesOf: decoder.bytes,
    textCounts,
    idOf: encoder.idOf,
  };
}

function eosTokenId({ eos_token: eos }: TokenizerConfig, idOf: (token: string) => number | undefined) {
  if (!eos) return undefined;
  return idOf(typeof eos === "string" ? eos : eos.content);
}
