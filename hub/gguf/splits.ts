// How byte-level vocabularies split text before merges apply, by the name that llama.cpp gives the splitting
// (tokenizer.ggml.pre). Names and patterns are those that transformers uses for GGUF files, so that ids are equal. A
// name that is not listed is refused, because a wrong splitting gives wrong ids without an error.

import { quote } from "../files/file-error.ts";
import type { Metadata } from "./metadata.ts";
import { GgufError } from "./types.ts";

const LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
/** Like Llama 3's, but each digit is on its own. */
const QWEN2 = LLAMA3.replace("\\p{N}{1,3}", "\\p{N}");

const UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
/** Splits words at changes from lower to upper case. @param suffix that belongs to a word @param digits of one piece */
const cased = (suffix: string, digits: string): string =>
  `[^\\r\\n\\p{L}\\p{N}]?${UPPER}*${LOWER}+${suffix}|[^\\r\\n\\p{L}\\p{N}]?${UPPER}+${LOWER}*${suffix}|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const TEKKEN = cased("", "\\p{N}");
const GPT4O = cased("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "\\p{N}{1,3}");

/** GPT-2's own splitting, which `tokenizers` has built in. */
const GPT2 = undefined;

/** Patterns by name. */
const SPLITS: ReadonlyMap<string, string | undefined> = new Map([
  ...each(["default", "gpt-2", "gpt2", "jais", "mpt", "olmo", "phi-2", "roberta-bpe", "gigachat"], GPT2),
  // llama.cpp also separates digits in these. transformers does not, which matters only between several spaces and a digit.
  ...each(["smollm", "starcoder", "refact", "codeshell", "command-r", "minerva-7b"], GPT2),
  ...each(["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"], LLAMA3),
  ...each(["dbrx", "smaug-bpe", "jina-v5-nano"], LLAMA3),
  ...each(["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez"], QWEN2),
  ...each(["tekken"], TEKKEN),
  ...each(["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], GPT4O),
]);

function each(names: readonly string[], split: string | undefined): [string, string | undefined][] {
  return names.map((name) => [name, split]);
}

/**
 * The `pre_tokenizer` of tokenizer.json for a byte-level vocabulary. Files without a name are taken for GPT-2's.
 * @throws GgufError for a splitting that is not known
 */
export function splitting(metadata: Metadata): object {
  const name = metadata.text("tokenizer.ggml.pre") ?? "default";
  if (!SPLITS.has(name)) {
    const known = [...SPLITS.keys()].join(", ");
    throw new GgufError(`has tokenizer.ggml.pre ${quote(name)}, which is not known; known are ${known}`, {
      file: metadata.file,
    });
  }
  const split = SPLITS.get(name);
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: split === undefined };
  if (split === undefined) return byteLevel;
  const pattern = { type: "Split", pattern: { Regex: split }, behavior: "Isolated", invert: false };
  return { type: "Sequence", pretokenizers: [pattern, byteLevel] };
}

/** What a `pre_tokenizer` of tokenizer.json is called in a GGUF file. */
export interface NamedSplit {
  /** the name that is written */
  name: string;
  /** whether llama.cpp takes a whole piece that is a token, whatever the merges are */
  ignoresMerges: boolean;
}

/** Names to write, by pattern and by whether merges are ignored: of several with one meaning the most common. */
const WRITTEN: readonly (NamedSplit & { pattern: string | undefined })[] = [
  { pattern: GPT2, name: "gpt-2", ignoresMerges: false },
  { pattern: LLAMA3, name: "llama-bpe", ignoresMerges: true },
  { pattern: LLAMA3, name: "smaug-bpe", ignoresMerges: false },
  { pattern: QWEN2, name: "qwen2", ignoresMerges: false },
  { pattern: TEKKEN, name: "tekken", ignoresMerges: true },
  { pattern: GPT4O, name: "gpt-4o", ignoresMerges: false },
];

/** GPT-2's splitting with each digit on its own. */
const DIGITS: NamedSplit = { name: "smollm", ignoresMerges: false };

/**
 * The names under which a `pre_tokenizer` of tokenizer.json, for a byte-level vocabulary, can be written.
 * @returns none if llama.cpp is not known to have it
 */
export function splitsNamed(preTokenizer: unknown): readonly NamedSplit[] {
  const parts = partsOf(preTokenizer);
  const [first, last] = [parts[0], parts.at(-1)];
  if (last?.type !== "ByteLevel" || last.add_prefix_space === true) return [];
  const splits = last.use_regex !== false;
  if (parts.length === 1) return splits ? WRITTEN.filter(({ pattern }) => pattern === GPT2) : [];
  if (parts.length !== 2) return [];
  if (first?.type === "Digits") return splits && first.individual_digits === true ? [DIGITS] : [];
  const { type, pattern, behavior, invert } = first as Record<string, unknown>;
  if (splits || type !== "Split" || behavior !== "Isolated" || invert === true) return [];
  const { Regex } = (pattern ?? {}) as { Regex?: unknown };
  return Regex === undefined ? [] : WRITTEN.filter((each) => each.pattern === Regex);
}

function partsOf(part: unknown): Readonly<Record<string, unknown>>[] {
  if (typeof part !== "object" || part === null) return [];
  const { type, pretokenizers } = part as Readonly<Record<string, unknown>>;
  return type === "Sequence" && Array.isArray(pretokenizers) ? pretokenizers.flatMap(partsOf) : [{ ...part }];
}
