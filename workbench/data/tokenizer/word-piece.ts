// Models of words: WordPiece (Schuster and Nakajima 2012, as in BERT), which takes the longest known start of a word
// again and again, and WordLevel, whose tokens are whole words.

import { z } from "zod";
import type { Model } from "./model.ts";
import { type Part, readPart } from "./read-part.ts";
import { readVocabulary, unknownIdOf } from "./vocabulary.ts";

/** Opens a WordPiece model. @throws Error if it is damaged */
export function openWordPiece(part: Part): Model {
  const fields = z.object({
    unk_token: z.string(),
    continuing_subword_prefix: z.string(),
    max_input_chars_per_word: z.int().min(0),
  });
  const { unk_token: unknown, ...word } = readPart(fields, part, "model WordPiece");
  const { continuing_subword_prefix: prefix, max_input_chars_per_word: longest } = word;
  const vocabulary = readVocabulary(part.vocab, "model WordPiece");
  const unknownId = unknownIdOf(vocabulary, unknown);
  return {
    vocabulary,
    encode: (piece) => {
      const characters = [...piece];
      if (characters.length > longest) return [unknownId()];
      const ids: number[] = [];
      for (let start = 0; start < characters.length; ) {
        let end = characters.length;
        let rest = (start > 0 ? prefix : "") + characters.slice(start).join("");
        let id = vocabulary.get(rest);
        while (id === undefined && --end > start) {
          rest = rest.slice(0, -(characters[end] as string).length);
          id = vocabulary.get(rest);
        }
        if (id === undefined) return [unknownId()];
        ids.push(id);
        start = end;
      }
      return ids;
    },
  };
}

/** Opens a WordLevel model. @throws Error if it is damaged */
export function openWordLevel(part: Part): Model {
  const { unk_token: unknown } = readPart(z.object({ unk_token: z.string() }), part, "model WordLevel");
  const vocabulary = readVocabulary(part.vocab, "model WordLevel");
  const unknownId = unknownIdOf(vocabulary, unknown);
  return { vocabulary, encode: (piece) => [vocabulary.get(piece) ?? unknownId()] };
}
