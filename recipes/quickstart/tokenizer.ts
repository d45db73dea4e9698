// A tokenizer for a known set of words, in the format of GPT-2's: byte-level pieces joined from the left, so that each
// word is one token and any other text still has its bytes. For the quickstart, which fetches nothing.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const END = "<|endoftext|>";

/** Writes tokenizer.json and tokenizer_config.json. @returns how many ids there are */
export async function writeTokenizer(folder: string, words: readonly string[]): Promise<number> {
  const vocabulary = new Map<string, number>();
  const add = (piece: string) => vocabulary.has(piece) || vocabulary.set(piece, vocabulary.size);
  add(END);
  for (const byte of BYTES) add(byte);
  const merges: [string, string][] = [];
  for (const word of words) {
    const letters = Array.from(new TextEncoder().encode(word), (byte) => BYTES[byte] as string);
    for (let length = 2; length <= letters.length; length++) {
      const [left, right] = [letters.slice(0, length - 1).join(""), letters[length - 1] as string];
      if (!vocabulary.has(left + right)) merges.push([left, right]);
      add(left + right);
    }
  }
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(description(vocabulary, merges)));
  const settings = { tokenizer_class: "GPT2Tokenizer", eos_token: END, bos_token: END, unk_token: END };
  await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(settings));
  return vocabulary.size;
}

function description(vocabulary: ReadonlyMap<string, number>, merges: readonly [string, string][]): object {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: "1.0",
    added_tokens: [{ id: 0, content: END, ...flags }],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      vocab: Object.fromEntries(vocabulary),
      merges: merges.map((pair) => pair.join(" ")),
    },
  };
}

/** The character that stands for each byte: itself where it can be seen, else one from 256 on (Radford et al. 2019). */
const BYTES: readonly string[] = (() => {
  const visible = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte < 173) || byte > 173;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(visible(byte) ? byte : next++));
})();
