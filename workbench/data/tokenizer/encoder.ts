// Text to ids through the library, and faster than it where that is exact: in byte-level BPE tokenizers a text is cut into
// pieces and each becomes ids by itself, so that a piece is merged once. Rows with added tokens in them, and all other kinds
// of tokenizers, go through the library whole.

import { Tokenizer as Library } from "@huggingface/tokenizers";
import { DataError, why } from "../errors.ts";
import { type Merge, openMerges, PieceMemo, toByteLevel } from "./byte-level-bpe.ts";
import type { TokenizerDefinition, TokenizerFiles } from "./definition.ts";
import type { IdList } from "./id-list.ts";
import { type Cut, openCut, useUnicodeWhiteSpace } from "./pre-tokenizer.ts";

export interface Encoder {
  readonly library: Library;
  readonly fast: boolean;
  /** appends the ids of a text by itself */
  encode(text: string, to: IdList): void;
}

/** @throws DataError when the library refuses the definition */
export function openEncoder(folder: string, { definition, config }: TokenizerFiles): Encoder {
  let library: Library;
  try {
    library = new Library(definition, config);
    useUnicodeWhiteSpace(library);
  } catch (error) {
    throw new DataError(folder, `has a tokenizer.json that cannot be used: ${why(error)}`, { cause: error });
  }
  const cut = piecesAreApart(definition, config) ? openCut(definition.pre_tokenizer) : undefined;
  const encode = cut ? pieceByPiece(folder, { library, definition, cut }) : whole(folder, library);
  return { library, fast: cut !== undefined, encode };
}

/** Whether a text's ids are those of its pieces, one after the other, with nothing done to the text but normalizing. */
function piecesAreApart(
  { model, post_processor: end }: TokenizerDefinition,
  config: TokenizerFiles["config"],
): boolean {
  // Fused unknown tokens reach across pieces.
  const apart = model.type === "BPE" && !model.fuse_unk;
  const unchanged = !config.remove_space && !config.do_lowercase_and_remove_accent;
  return apart && unchanged && endsUnchanged(end);
}

/** Whether a post-processor leaves the tokens of a single text alone when no special tokens are asked for. */
function endsUnchanged(end: TokenizerDefinition["post_processor"]): boolean {
  if (end === null || end.type === "ByteLevel" || end.type === "RobertaProcessing") return true;
  if (end.type === "Sequence" && Array.isArray(end.processors)) return end.processors.every(endsUnchanged);
  if (end.type !== "TemplateProcessing" || !Array.isArray(end.single)) return false;
  const texts = end.single.filter((item) => "Sequence" in item).map((item) => item.Sequence.id);
  return texts.length === 1 && texts[0] === "A";
}

function whole(folder: string, library: Library): Encoder["encode"] {
  return (text, to) => {
    const { ids } = library.encode(text, { add_special_tokens: false });
    if (ids.includes(undefined as unknown as number)) throw unknownPiece(folder, text);
    to.pushAll(ids);
  };
}

function pieceByPiece(
  folder: string,
  { library, definition, cut }: { library: Library; definition: TokenizerDefinition; cut: Cut },
): Encoder["encode"] {
  const normalize = (text: string) => library.normalizer?.normalize(text) ?? text;
  const added = anyOf(definition.added_tokens.flatMap(({ content }) => [content, normalize(content)]));
  // Made when the first text comes: who only decodes does not wait for it.
  let merge: Merge | null | undefined;
  const memo = new PieceMemo((piece) => {
    if (merge === undefined) merge = openMerges(library, definition) ?? null;
    return merge?.(piece) ?? encodePiece(folder, library, piece);
  });
  const throughLibrary = whole(folder, library);
  return (text, to) => {
    const normal = normalize(text);
    if (added?.test(text) || (normal !== text && added?.test(normal))) return throughLibrary(text, to);
    if (normal !== "") memo.encode(cut(normal), to);
  };
}

/** A piece's ids by the library's model. */
function encodePiece(folder: string, library: Library, piece: string): number[] {
  const tokens = library.model?.encode([toByteLevel(piece)]) ?? [];
  return tokens.map((token) => {
    const id = library.token_to_id(token);
    if (id === undefined) throw unknownPiece(folder, piece);
    return id;
  });
}

/** Finds any of the texts, by UTF-16 units as the library does; nothing when there are none. */
function anyOf(texts: readonly string[]): RegExp | undefined {
  const literals = texts.filter((text) => text !== "").map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
  return literals.length > 0 ? new RegExp(literals.join("|")) : undefined;
}

function unknownPiece(folder: string, text: string): DataError {
  const shown = JSON.stringify(text.slice(0, 40));
  return new DataError(folder, `its tokenizer has no id for part of ${shown}, and no token for the unknown`);
}
