// SentencePiece's BPE with byte fallback, Llama 2's kind of tokenizer, in a GGUF file. Its merges are scores there: of
// two adjacent tokens that together are a token, those whose token has the best score are merged first. tokenizer.json
// lists merges instead; scores are their ranks.

import { type Entries, flag, text } from "../../../hub/gguf/entries.ts";
import type { TokenizerDefinition } from "../../data/tokenizer/definition.ts";
import type { Part } from "../../data/tokenizer/read-part.ts";
import type { Kind } from "./tokenizer.ts";
import { TYPES, type Vocabulary } from "./vocabulary.ts";

const SPACE = "▁";
const BYTE = /^<0x[0-9A-F]{2}>$/;

/** @throws Error for a part that llama.cpp does not have */
export function sentencePieceKind(definition: TokenizerDefinition, { model, byId, added }: Vocabulary): Kind {
  const lacksBytes = Array.from({ length: 256 }, (_, byte) => byte).find((byte) => !model.has(nameOfByte(byte)));
  if (lacksBytes !== undefined) throw new Error(`llama.cpp needs a token ${nameOfByte(lacksBytes)}, which it lacks`);
  const isMarkup = (token: string) => BYTE.test(token) || added.has(model.get(token) as number);
  const ranks = ranksOf(definition, model, isMarkup);
  if (definition.model.ignore_merges === true)
    throw new Error("llama.cpp has no ignore_merges for SentencePiece's BPE");
  return {
    entries: entriesOf(definition),
    hasUnknown: true,
    typeOf: (token) => (BYTE.test(token) ? TYPES.byte : TYPES.normal),
    scoreOf: (id) => -(ranks.get(byId[id] as string) ?? ranks.size),
    writtenAs: (content) => content.replaceAll(SPACE, " "),
  };
}

const nameOfByte = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;

function entriesOf(definition: TokenizerDefinition): Entries {
  return {
    "tokenizer.ggml.model": text("llama"),
    "tokenizer.ggml.pre": text("default"),
    "tokenizer.ggml.add_space_prefix": flag(hasPrefix(definition)),
  };
}

/**
 * Whether a text begins with a space. llama.cpp has only that choice, also behind special tokens.
 * @throws Error for other ways of preparing a text
 */
function hasPrefix({ normalizer, pre_tokenizer: split }: TokenizerDefinition): boolean {
  const other = new Error(
    "llama.cpp replaces spaces by ▁ and changes nothing else; its normalizer or pre_tokenizer does",
  );
  const normalizers = normalizer === null ? [] : sequenceOf(normalizer, "normalizers");
  if (split !== null) {
    const { type, replacement, prepend_scheme: scheme = "always", add_prefix_space: adds, split: cuts = true } = split;
    if (type !== "Metaspace" || replacement !== SPACE || cuts !== false || normalizers.length > 0) throw other;
    return adds !== false && scheme !== "never";
  }
  const [first, ...rest] = normalizers;
  const isPrepended = first?.type === "Prepend" && first.prepend === SPACE;
  const [replace, ...more] = isPrepended ? rest : normalizers;
  const from = (replace?.pattern as { String?: unknown } | undefined)?.String;
  if (replace?.type !== "Replace" || from !== " " || replace.content !== SPACE || more.length > 0) throw other;
  return isPrepended;
}

const sequenceOf = (part: Part, field: string): Part[] =>
  part.type === "Sequence" && Array.isArray(part[field]) ? (part[field] as Part[]) : [part];

/**
 * The ranks of tokens by their merges.
 * @param isMarkup whether no merges lead to a token
 * @throws Error if merges and scores would not give the same ids: a token that also other parts would merge to, or whose
 * merges are not next to each other
 */
function ranksOf(
  { model: { merges } }: TokenizerDefinition,
  ids: ReadonlyMap<string, number>,
  isMarkup: (token: string) => boolean,
): Map<string, number> {
  const ranks = new Map<string, number>();
  const counts = new Map<string, number>();
  let last = "";
  for (const merge of merges as readonly (string | readonly string[])[]) {
    const token = (typeof merge === "string" ? merge.split(" ") : merge).join("");
    if (token !== last && ranks.has(token)) {
      throw new Error(`its merges to ${JSON.stringify(token)} have others between them, which scores cannot express`);
    }
    if (token !== last) ranks.set(token, ranks.size);
    counts.set(token, (counts.get(token) ?? 0) + 1);
    last = token;
  }
  for (const token of ids.keys()) {
    const cuts = cutsOf(token, ids);
    if (cuts === (counts.get(token) ?? 0) || isMarkup(token)) continue;
    const problem = `${JSON.stringify(token)} can be merged in ${cuts} ways, of which it lists ${counts.get(token) ?? 0}`;
    throw new Error(`${problem}: its merges are not those of SentencePiece, which scores express`);
  }
  return ranks;
}

/** In how many ways a token is two tokens. */
function cutsOf(token: string, ids: ReadonlyMap<string, number>): number {
  const characters = [...token];
  let [cuts, at] = [0, 0];
  for (const character of characters.slice(0, -1)) {
    at += character.length;
    if (ids.has(token.slice(0, at)) && ids.has(token.slice(at))) cuts++;
  }
  return cuts;
}
