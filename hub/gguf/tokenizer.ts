// Makes tokenizer.json and tokenizer_config.json from the metadata of a GGUF file: byte-level BPE (tokenizer.ggml.model
// "gpt2") and SentencePiece's BPE with byte fallback ("llama"). The tokenizer is the one that transformers builds from
// such a file.

import { quote } from "../files/file-error.ts";
import { fromByteLevel, toByteLevel } from "../text/byte-level.ts";
import type { Metadata } from "./metadata.ts";
import { splitting } from "./splits.ts";
import { GgufError } from "./types.ts";
import {
  type Merge,
  mergesFromScores,
  readMerges,
  readVocabulary,
  type SpecialIds,
  type Vocabulary,
} from "./vocabulary.ts";

/** The files of a tokenizer, and the ids that config.json and generation_config.json need. */
export interface GgufTokenizer {
  /** text of tokenizer.json */
  definition: string;
  /** content of tokenizer_config.json */
  config: Record<string, unknown>;
  /** text of chat_template.jinja */
  chatTemplate: string | undefined;
  special: SpecialIds;
  /** number of tokens */
  size: number;
}

/** The parts of tokenizer.json that depend on the kind of vocabulary. */
interface Parts {
  vocabulary: ReadonlyMap<string, number>;
  merges: readonly Merge[];
  preTokenizer: object;
  decoder: object;
  /** options of the BPE */
  model: object;
  /** whether a token that the file marks can be an added token */
  mayBeAdded(token: string): boolean;
  addBos: boolean;
}

const KINDS: Readonly<Record<string, (metadata: Metadata, vocabulary: Vocabulary) => Parts>> = {
  gpt2: byteLevel,
  llama: sentencePiece,
};

/**
 * Makes the tokenizer.
 * @param positions longest sequence, in tokens
 * @throws GgufError for a kind of vocabulary or a splitting that is not supported, or for inconsistent metadata
 */
export function tokenizerOf(metadata: Metadata, positions: number): GgufTokenizer {
  const kind = metadata.text("tokenizer.ggml.model") ?? metadata.missing("tokenizer.ggml.model");
  if (!Object.hasOwn(KINDS, kind)) {
    const problem = `has tokenizer.ggml.model ${quote(kind)}; ${Object.keys(KINDS).join(" and ")} are supported`;
    throw new GgufError(problem, { file: metadata.file });
  }
  const vocabulary = readVocabulary(metadata);
  const parts = (KINDS[kind] as (typeof KINDS)[string])(metadata, vocabulary);
  const { tokens, special } = vocabulary;
  const token = (id: number | undefined) => (id === undefined ? undefined : tokens[id]);
  const named = Object.entries({
    bos_token: token(special.bos),
    eos_token: token(special.eos),
    unk_token: token(special.unk),
    pad_token: token(special.pad),
  }).filter(([, text]) => text !== undefined);
  const adds = {
    bos: (metadata.flag("tokenizer.ggml.add_bos_token") ?? parts.addBos) ? special.bos : undefined,
    eos: metadata.flag("tokenizer.ggml.add_eos_token") ? special.eos : undefined,
  };
  return {
    definition: definitionOf(parts, vocabulary, templateOf(adds, tokens)),
    config: {
      ...(adds.bos !== undefined && { add_bos_token: true }),
      ...(adds.eos !== undefined && { add_eos_token: true }),
      ...Object.fromEntries(named),
      clean_up_tokenization_spaces: false,
      model_max_length: positions,
      tokenizer_class: "PreTrainedTokenizerFast",
    },
    chatTemplate: metadata.text("tokenizer.chat_template"),
    special,
    size: tokens.length,
  };
}

function byteLevel(metadata: Metadata, { tokens }: Vocabulary): Parts {
  // Tokens that are plain text are converted to the byte-level alphabet.
  const vocabulary = new Map(tokens.map((token, id) => [isByteLevel(token) ? token : toByteLevel(token), id]));
  return {
    vocabulary,
    merges: readMerges(metadata, vocabulary) ?? metadata.missing("tokenizer.ggml.merges"),
    preTokenizer: splitting(metadata),
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { ...BPE, continuing_subword_prefix: "", end_of_word_suffix: "" },
    mayBeAdded: isByteLevel,
    addBos: false,
  };
}

const isByteLevel = (token: string): boolean => fromByteLevel(token) !== undefined;

function sentencePiece(metadata: Metadata, vocabulary: Vocabulary): Parts {
  const ids = new Map(vocabulary.tokens.map((token, id) => [token, id]));
  const hasPrefix = metadata.flag("tokenizer.ggml.add_space_prefix") ?? true;
  const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
  return {
    vocabulary: ids,
    merges: readMerges(metadata, ids) ?? mergesFromScores(metadata, vocabulary, ids),
    preTokenizer: {
      type: "Metaspace",
      replacement: "▁",
      prepend_scheme: hasPrefix ? "first" : "never",
      split: false,
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(hasPrefix ? [strip] : []),
      ],
    },
    model: { ...BPE, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: true, byte_fallback: true },
    mayBeAdded: () => true,
    addBos: true, // llama.cpp's default for such vocabularies
  };
}

const BPE = {
  type: "BPE",
  dropout: null,
  unk_token: null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
};

interface AddedToken {
  id: number;
  content: string;
  special: boolean;
}

/** Added tokens by id: markup, tokens with a role, and tokens that are found as a whole. */
function addedTokens(
  { vocabulary, mayBeAdded }: Parts,
  { tokens, control, userDefined, special }: Vocabulary,
): AddedToken[] {
  const added = new Map<number, AddedToken>();
  const add = (id: number, isSpecial: boolean) => {
    const content = tokens[id] as string;
    if (content !== "") added.set(id, { id, content, special: isSpecial });
  };
  for (const id of userDefined) if (vocabulary.get(tokens[id] as string) === id) add(id, false);
  for (const id of control) if (mayBeAdded(tokens[id] as string)) add(id, true);
  for (const id of [special.bos, special.eos, special.unk, special.pad]) if (id !== undefined) add(id, true);
  return [...added.values()].sort((a, b) => a.id - b.id);
}

/** The `post_processor`: which tokens are put around a text, or around each of two. */
function templateOf(
  { bos, eos }: { bos?: number | undefined; eos?: number | undefined },
  tokens: readonly string[],
): object {
  const mark = (id: number | undefined, type: number) =>
    id === undefined ? [] : [{ SpecialToken: { id: tokens[id] as string, type_id: type } }];
  const around = (name: string, type: number) => [
    ...mark(bos, type),
    { Sequence: { id: name, type_id: type } },
    ...mark(eos, type),
  ];
  const used = [bos, eos].filter((id) => id !== undefined);
  const described = used.map((id) => {
    const token = tokens[id] as string;
    return [token, { id: token, ids: [id], tokens: [token] }] as const;
  });
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(described),
  };
}

function definitionOf(parts: Parts, vocabulary: Vocabulary, template: object): string {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const added = addedTokens(parts, vocabulary).map(({ id, content, special }) => ({ id, content, ...flags, special }));
  const head = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: parts.preTokenizer,
    post_processor: template,
    decoder: parts.decoder,
  };
  // The vocabulary is written entry by entry, since an object would reorder tokens that are numbers, and drop one
  // named __proto__.
  const entries = Array.from(parts.vocabulary, ([token, id]) => `${JSON.stringify(token)}:${id}`);
  const model = JSON.stringify(parts.model).slice(0, -1);
  const merges = JSON.stringify(parts.merges);
  return `${JSON.stringify(head).slice(0, -1)},"model":${model},"vocab":{${entries.join(",")}},"merges":${merges}}}\n`;
}
