// Encodes text as ids. Byte-level BPE tokenizers split a text into pieces and encode each piece independently; for
// these, the ids of pieces are memoized, which gives the library's ids in a fraction of the time. Texts that contain
// added tokens, and texts of other kinds of tokenizers, are encoded by the library (@huggingface/tokenizers).

import { Tokenizer as Library } from "@huggingface/tokenizers";
import { DataError, why } from "../errors.ts";
import { type Merge, openMerges, PieceMemo, toByteLevel } from "./byte-level-bpe.ts";
import type { TokenizerDefinition, TokenizerFiles } from "./definition.ts";
import type { IdList } from "./id-list.ts";
import { type Cut, openCut, useUnicodeWhiteSpace } from "./pre-tokenizer.ts";

/** Encodes texts with one tokenizer. */
export interface Encoder {
  readonly library: Library;
  /** whether texts are encoded piece by piece */
  readonly fast: boolean;
  /** appends the ids of a text, without special tokens */
  encode(text: string, to: IdList): void;
}

/** Opens the encoder of a tokenizer. @throws DataError if the library rejects the definition */
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

/** Whether the ids of a text are the concatenated ids of the pieces of its normalized text. */
function piecesAreApart(
  { model, post_processor: end }: TokenizerDefinition,
  config: TokenizerFiles["config"],
): boolean {
  // Fused unknown tokens can span pieces.
  const apart = model.type === "BPE" && !model.fuse_unk;
  const unchanged = !config.remove_space && !config.do_lowercase_and_remove_accent;
  return apart && unchanged && endsUnchanged(end);
}

/** Whether a post-processor keeps the tokens of a single text unchanged if no special tokens are requested. */
function endsUnchanged(end: TokenizerDefinition["post_processor"]): boolean {
  if (end === null || end.type === "ByteLevel" || end.type === "RobertaProcessing") return true;
  if (end.type === "Sequence" && Array.isArray(end.processors)) return end.processors.every(endsUnchanged);
  if (end.type !== "TemplateProcessing" || !Array.isArray(end.single)) return false;
  const texts = end.single.filter((item) => "Sequence" in item).map((item) => item.Sequence.id);
  return texts.length === 1 && texts[0] === "A";
}

/** Encodes texts with the library. */
function whole(folder: string, library: Library): Encoder["encode"] {
  return (text, to) => {
    const { ids } = library.encode(text, { add_special_tokens: false });
    if (ids.includes(undefined as unknown as number)) throw unknownPiece(folder, text);
    to.pushAll(ids);
  };
}

/** Encodes texts piece by piece with a memo. Texts that contain added tokens are encoded by the library. */
function pieceByPiece(
  folder: string,
  { library, definition, cut }: { library: Library; definition: TokenizerDefinition; cut: Cut },
): Encoder["encode"] {
  const normalize = (text: string) => library.normalizer?.normalize(text) ?? text;
  const added = anyOf(definition.added_tokens.flatMap(({ content }) => [content, normalize(content)]));
  // Built when the first text is encoded, so that decoding alone does not take the time.
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

/** Encodes a piece with the library's model. */
function encodePiece(folder: string, library: Library, piece: string): number[] {
  const tokens = library.model?.encode([toByteLevel(piece)]) ?? [];
  return tokens.map((token) => {
    const id = library.token_to_id(token);
    if (id === undefined) throw unknownPiece(folder, piece);
    return id;
  });
}

/** Expression that matches any of the texts, by UTF-16 units as in the library; undefined if there are none. */
function anyOf(texts: readonly string[]): RegExp | undefined {
  const literals = texts.filter((text) => text !== "").map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
  return literals.length > 0 ? new RegExp(literals.join("|")) : undefined;
}

/** The error for text without ids. */
function unknownPiece(folder: string, text: string): DataError {
  const shown = JSON.stringify(text.slice(0, 40));
  return new DataError(folder, `its tokenizer has no id for a part of ${shown}, and no unknown token`);
}
