// Text to ids through the library, and faster than it where that is exact. In a byte-level BPE tokenizer of GPT-2's kind
// a text is cut into pieces by one regular expression and each piece becomes ids by itself: pieces are cut and merged here,
// once each. Rows with added tokens in them, and all other kinds of tokenizers, go through it whole.

import { Tokenizer as Library } from "@huggingface/tokenizers";
import { DataError, why } from "../errors.ts";
import { toByteLevel } from "./byte-level.ts";
import type { TokenizerDefinition, TokenizerFiles } from "./definition.ts";
import type { IdList } from "./id-list.ts";
import { type Merge, openMerges } from "./merges.ts";
import { PieceMemo } from "./piece-memo.ts";

export interface Encoder {
  readonly library: Library;
  readonly fast: boolean;
  /** appends the ids of a text by itself */
  encode(text: string, to: IdList): void;
}

/** Cuts as the byte-level pre-tokenizer does: contractions, words, numbers, other runs, white space. */
const PIECES = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** @throws DataError when the library refuses the definition */
export function openEncoder(folder: string, { definition, config }: TokenizerFiles): Encoder {
  let library: Library;
  try {
    library = new Library(definition, config);
  } catch (error) {
    throw new DataError(folder, `has a tokenizer.json that cannot be used: ${why(error)}`, { cause: error });
  }
  const fast = memoises(definition, config);
  return { library, fast, encode: fast ? pieceByPiece(folder, library, definition) : whole(folder, library) };
}

/** Whether a text's ids are those of its pieces, one after the other, and the pieces are PIECES'. */
export function memoises(
  { model, pre_tokenizer: cut, post_processor: end }: TokenizerDefinition,
  config: TokenizerFiles["config"],
): boolean {
  const pieces = cut?.type === "ByteLevel" && (cut.use_regex ?? true) === true;
  // Fused unknown tokens reach across pieces.
  const apart = model.type === "BPE" && !model.fuse_unk;
  const unchanged = !config.remove_space && !config.do_lowercase_and_remove_accent;
  return pieces && apart && unchanged && (end === null || END_UNCHANGED.has(end.type));
}

/** Post-processors that leave the tokens of a single text alone when no special tokens are asked for. */
const END_UNCHANGED = new Set(["ByteLevel", "RobertaProcessing"]);

function whole(folder: string, library: Library): Encoder["encode"] {
  return (text, to) => {
    const { ids } = library.encode(text, { add_special_tokens: false });
    if (ids.includes(undefined as unknown as number)) throw unknownPiece(folder, text);
    to.pushAll(ids);
  };
}

function pieceByPiece(folder: string, library: Library, definition: TokenizerDefinition): Encoder["encode"] {
  const normalise = (text: string) => library.normalizer?.normalize(text) ?? text;
  const added = anyOf(definition.added_tokens.flatMap(({ content }) => [content, normalise(content)]));
  const prefixed = definition.pre_tokenizer?.add_prefix_space === true;
  // Made when the first text comes: who only decodes does not wait for it.
  let merge: Merge | null | undefined;
  const memo = new PieceMemo((piece) => {
    if (merge === undefined) merge = openMerges(library, definition) ?? null;
    return merge?.(piece) ?? encodePiece(folder, library, piece);
  });
  const throughLibrary = whole(folder, library);
  return (text, to) => {
    const normal = normalise(text);
    if (added?.test(text) || (normal !== text && added?.test(normal))) return throughLibrary(text, to);
    if (normal === "") return;
    const pieces = (prefixed && !normal.startsWith(" ") ? ` ${normal}` : normal).match(PIECES);
    if (pieces) memo.encode(pieces, to);
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
