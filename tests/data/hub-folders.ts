// The models and data sets that tests read where they are at hand, and a byte-level tokenizer small enough to make.

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const shared = fileURLToPath(new URL("../../../shared/", import.meta.url));

export const GOLDEN = join(shared, "golden");
export const WIKITEXT = join(shared, "hub/datasets/gblr/wikitext-mini");
export const GPT2 = join(shared, "hub/models/gblr/gpt2-mini");
/** GPT-2's own tokenizer */
export const GPT2_TOKENIZER = join(shared, "hub/models/openai-community/gpt2");
export const HUB_IS_HERE = existsSync(WIKITEXT) && existsSync(GPT2) && existsSync(GOLDEN);

/** One character a byte, as GPT-2's vocabulary writes them: an independent statement of the alphabet. */
export const ALPHABET: string[] = (() => {
  const kept = /[!-~\u00a1-\u00ac\u00ae-\u00ff]/;
  let moved = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const character = String.fromCharCode(byte);
    return kept.test(character) ? character : String.fromCharCode(256 + moved++);
  });
})();

/** Merges in the order of their ranks; the later ones build on the earlier. */
const MERGES = "t h|Ġ t|h e|Ġ a|i n|Ġt he|e r|a n|Ġ Ġ|r e|an d|Ġ and|Ċ Ċ|Ã ©|th e|1 9|19 19|ĠĠ ĠĠ|' s|a a|aa aa".split(
  "|",
);

export interface TinyTokenizer {
  added_tokens?: object[];
  normalizer?: object | null;
  pre_tokenizer?: object | null;
  post_processor?: object | null;
  model?: Record<string, unknown>;
  config?: object;
}

/** Writes a tokenizer of GPT-2's kind with 21 merges into a folder. Parts can be replaced. */
export function writeTinyTokenizer(folder: string, parts: TinyTokenizer = {}): string {
  const entries = [...ALPHABET, ...MERGES.map((merge) => merge.replace(" ", "")), "<|endoftext|>"];
  const vocab = Object.fromEntries(entries.map((entry, id) => [entry, id]));
  const { config = { eos_token: "<|endoftext|>" }, model = {}, ...rest } = parts;
  const definition = {
    version: "1.0",
    added_tokens: [{ id: entries.length - 1, special: true, content: "<|endoftext|>", normalized: true }],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true },
    post_processor: { type: "ByteLevel", add_prefix_space: true, trim_offsets: false },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true },
    model: { type: "BPE", unk_token: null, fuse_unk: false, vocab, merges: MERGES, ...model },
    ...rest,
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(definition));
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(config));
  return folder;
}
