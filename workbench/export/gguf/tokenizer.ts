// The tokenizer of a model folder as metadata of a GGUF file: tokens with their types, merges or scores, how text is
// split, special tokens and the chat template, under the keys of llama.cpp's converter. A tokenizer that llama.cpp would
// apply in another way is refused, because its ids would be wrong without an error.

import { count, type Entries, flag, integers, numbers, text, texts } from "../../../hub/gguf/entries.ts";
import { readSpecialTokens, readTemplate } from "../../data/chat/template-files.ts";
import { DataError, why } from "../../data/errors.ts";
import { openAddedTokens } from "../../data/tokenizer/added-tokens.ts";
import { readTokenizerFiles, type TokenizerFiles } from "../../data/tokenizer/definition.ts";
import { openModel } from "../../data/tokenizer/model.ts";
import { openPostProcessor } from "../../data/tokenizer/post-processor.ts";
import { byteLevelKind } from "./byte-level.ts";
import { sentencePieceKind } from "./sentence-piece.ts";
import { PAD_SCORE, TYPES, type Vocabulary, vocabularyOf } from "./vocabulary.ts";

/** What the kind of a tokenizer decides. */
export interface Kind {
  /** tokenizer.ggml.model, tokenizer.ggml.pre, and other keys of the kind */
  entries: Entries;
  /** whether the token that stands for unknown characters has a type of its own. Default false */
  hasUnknown?: boolean;
  /** type of a token of the vocabulary that is no added token. Default: normal */
  typeOf?(token: string): number;
  /** score of a token by id. Default: the file has no scores */
  scoreOf?(id: number): number;
  /** the text of an added token in the file. Default: the same */
  writtenAs?(content: string): string;
}

/** Fields of config.json that name special tokens by id. */
type Config = Readonly<Record<string, unknown>>;

/**
 * The metadata of the tokenizer.
 * @param folder with tokenizer.json
 * @param config content of config.json
 * @param rows of the embedding; the file has as many tokens
 * @throws DataError if there is no tokenizer, or llama.cpp does not have it
 */
export async function tokenizerEntries(folder: string, config: Config, rows: number): Promise<Entries> {
  const files = await readTokenizerFiles(folder);
  const vocabulary = opened(folder, () => vocabularyIn(files, rows));
  const kind = opened(folder, () => kindOf(files, vocabulary));
  const special = await specialIds(folder, config, vocabulary);
  const { tokens, typeOf, scoreOf } = described(vocabulary, kind, special.get("unknown"));
  const template = await readTemplate(folder);
  return {
    ...kind.entries,
    "tokenizer.ggml.tokens": texts(tokens),
    "tokenizer.ggml.token_type": integers(tokens.map((_, id) => typeOf(id))),
    ...(scoreOf && { "tokenizer.ggml.scores": numbers(tokens.map((_, id) => scoreOf(id))) }),
    ...Object.fromEntries(Array.from(special, ([name, id]) => [`tokenizer.ggml.${name}_token_id`, count(id)])),
    ...opened(folder, () => addedAround(files, special)),
    ...(template && { "tokenizer.chat_template": text(template.text) }),
  };
}

/** @throws DataError that names the folder if the function throws */
function opened<Result>(folder: string, open: () => Result): Result {
  try {
    return open();
  } catch (error) {
    throw new DataError(folder, `has a tokenizer that a GGUF file cannot hold: ${why(error)}`, { cause: error });
  }
}

function vocabularyIn({ definition }: TokenizerFiles, rows: number): Vocabulary {
  const model = openModel(definition.model);
  const added = openAddedTokens(definition.added_tokens, { model, normalizer: undefined });
  return vocabularyOf(model.vocabulary, added.byId, rows);
}

/** Both kinds are byte-pair encodings: of bytes, or of characters with tokens for bytes as a fallback. */
function kindOf({ definition }: TokenizerFiles, vocabulary: Vocabulary): Kind {
  const { type = "BPE", byte_fallback: fallback } = definition.model as { type?: string; byte_fallback?: unknown };
  if (type !== "BPE") {
    throw new Error(`its model is ${type}, and only BPE is written; use --to dense or --to onnx`);
  }
  return fallback === true ? sentencePieceKind(definition, vocabulary) : byteLevelKind(definition, vocabulary);
}

function described({ byId, added }: Vocabulary, kind: Kind, unknown: number | undefined) {
  const tokens = byId.map((token, id) => {
    if (token === undefined) return `[PAD${id}]`;
    return added.has(id) ? (kind.writtenAs?.(token) ?? token) : token;
  });
  const typeOf = (id: number) => {
    const token = byId[id];
    if (token === undefined) return TYPES.unused;
    if (kind.hasUnknown && id === unknown) return TYPES.unknown;
    return added.get(id)?.type ?? kind.typeOf?.(token) ?? TYPES.normal;
  };
  const { scoreOf } = kind;
  return { tokens, typeOf, scoreOf: scoreOf && ((id: number) => (byId[id] === undefined ? PAD_SCORE : scoreOf(id))) };
}

/** Special tokens by their names in GGUF files, and where the folder names them. */
const SPECIAL = [
  ["bos", "bos"],
  ["eos", "eos"],
  ["unknown", "unk"],
  ["seperator", "sep"], // as the format spells it
  ["padding", "pad"],
  ["mask", "mask"],
] as const;

async function specialIds(folder: string, config: Config, { idOf }: Vocabulary): Promise<Map<string, number>> {
  const named = await readSpecialTokens(folder);
  const found = new Map<string, number>();
  for (const [key, name] of SPECIAL) {
    const token = named[`${name}_token`];
    const [listed] = [config[`${name}_token_id`]].flat();
    const id = (token === undefined ? undefined : idOf(token)) ?? listed;
    if (typeof id === "number") found.set(key, id);
  }
  return found;
}

/** Whether the first and the last token are put around a text. llama.cpp's defaults differ between kinds. */
function addedAround({ definition }: TokenizerFiles, special: ReadonlyMap<string, number>): Entries {
  const { special: template } = openPostProcessor(definition.post_processor);
  const at = template.indexOf(undefined);
  const [before, after] = [template.slice(0, at), template.slice(at + 1)];
  const isOnly = (ids: readonly unknown[], id: number | undefined) =>
    ids.length === 0 || (ids.length === 1 && id !== undefined && ids[0] === id);
  if (!isOnly(before, special.get("bos")) || !isOnly(after, special.get("eos"))) {
    throw new Error("it puts other tokens around a text than bos_token before it and eos_token after it");
  }
  return {
    "tokenizer.ggml.add_bos_token": flag(before.length > 0),
    "tokenizer.ggml.add_eos_token": flag(after.length > 0),
  };
}
