// Encodes text as ids: the text is divided at added tokens, normalized and split into pieces; the model encodes each
// piece. Most pieces occur many times, so their ids are remembered.

import { toByteLevel } from "../../../hub/text/byte-level.ts";
import { DataError, why } from "../errors.ts";
import type { EncodeOptions } from "../types.ts";
import { type AddedTokens, openAddedTokens } from "./added-tokens.ts";
import { openFrom, type TokenizerDefinition, type TokenizerFiles } from "./definition.ts";
import { IdList } from "./id-list.ts";
import { type Model, openModel } from "./model.ts";
import { openNormalizer } from "./normalizers.ts";
import { PieceMemo } from "./piece-memo.ts";
import { openPostProcessor, type Template } from "./post-processor.ts";
import { openPreTokenizer } from "./pre-tokenizers.ts";

/** Encodes texts with one tokenizer. */
export interface Encoder {
  /** largest id + 1 */
  readonly vocabSize: number;
  /** the id of a token, whose text is as in the vocabulary */
  idOf(token: string): number | undefined;
  /** the token with an id */
  tokenOf(id: number): string | undefined;
  /** whether a token is a special one */
  isSpecial(token: string): boolean;
  /** appends the ids of a text. @throws DataError if the text has a part without id */
  encode(text: string, to: IdList, options?: EncodeOptions): void;
}

/** Opens the encoder of a tokenizer. @throws DataError if the definition is damaged or not supported */
export function openEncoder(folder: string, { definition }: Pick<TokenizerFiles, "definition">): Encoder {
  return openFrom(folder, () => opened(folder, definition));
}

function opened(folder: string, definition: TokenizerDefinition): Encoder {
  const normalizer = openNormalizer(definition.normalizer);
  const { cut, byteLevel } = openPreTokenizer(definition.pre_tokenizer);
  const model = openModel(definition.model);
  const added = openAddedTokens(definition.added_tokens, { model, normalizer });
  const templates = openPostProcessor(definition.post_processor);
  const encodePiece = byteLevel
    ? (model.encodeBytes ?? ((piece: string) => model.encode(toByteLevel(piece))))
    : (piece: string) => model.encode(piece);
  const memo = new PieceMemo((piece) => {
    try {
      return encodePiece(piece);
    } catch (error) {
      throw new DataError(folder, `its tokenizer cannot encode ${JSON.stringify(piece.slice(0, 40))}: ${why(error)}`);
    }
  });
  const encodeText = (text: string, to: IdList) => {
    for (const section of added.sections(text.isWellFormed() ? text : text.toWellFormed())) {
      if ("id" in section) to.push(section.id);
      else memo.encode(cut(section.text, section.atStart), to);
    }
  };
  return {
    ...namesOf(model, added),
    encode: (text, to, { specialTokens = false } = {}) => {
      fill(specialTokens ? templates.special : templates.plain, to, (list) => encodeText(text, list));
    },
  };
}

/** Appends the ids of a template. */
function fill(template: Template, to: IdList, encode: (to: IdList) => void): void {
  let ids: Int32Array | undefined;
  const texts = template.filter((id) => id === undefined).length;
  for (const id of template) {
    if (id !== undefined) to.push(id);
    else if (texts === 1) encode(to);
    else {
      if (!ids) {
        const list = new IdList();
        encode(list);
        ids = list.take();
      }
      to.pushAll(ids);
    }
  }
}

function namesOf(
  { vocabulary, list = [] }: Model,
  added: AddedTokens,
): Pick<Encoder, "vocabSize" | "idOf" | "tokenOf" | "isSpecial"> {
  const tokens = new Map<number, string>();
  let largest = -1;
  for (const [token, id] of vocabulary) {
    tokens.set(id, token);
    if (id > largest) largest = id;
  }
  list.forEach((token, id) => {
    tokens.set(id, token);
  });
  largest = Math.max(largest, list.length - 1);
  const special = new Set<string>();
  for (const token of added.byId.values()) {
    // Rust names a token by its normalized text, too.
    tokens.set(token.id, token.pattern);
    if (token.special) special.add(token.content);
    if (token.id > largest) largest = token.id;
  }
  return {
    vocabSize: largest + 1,
    idOf: (token) => added.ids.get(token) ?? vocabulary.get(token),
    tokenOf: (id) => tokens.get(id),
    isSpecial: (token) => special.has(token),
  };
}
