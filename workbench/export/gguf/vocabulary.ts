// The tokens of a tokenizer by id, as a GGUF file lists them. A file has a token for each row of the embedding; rows
// without one get a token that is never used.

/** Types of tokens in GGUF files. */
export const TYPES = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** Score of tokens that are never used. */
export const PAD_SCORE = -1000;

/** An added token. */
interface Added {
  content: string;
  special: boolean;
}

/** The tokens of a tokenizer. */
export interface Vocabulary {
  /** tokens by id, as many as the embedding has rows */
  byId: readonly (string | undefined)[];
  /** types of added tokens, by id */
  added: ReadonlyMap<number, { type: number }>;
  /** ids of the tokens of the model, without added tokens that it lacks */
  model: ReadonlyMap<string, number>;
  idOf(token: string): number | undefined;
}

/**
 * Lists the tokens of a tokenizer by id.
 * @param model tokens of the tokenizer's model
 * @param added added tokens by id
 * @param rows of the embedding
 * @throws Error for a token without a row
 */
export function vocabularyOf(
  model: ReadonlyMap<string, number>,
  added: ReadonlyMap<number, Added>,
  rows: number,
): Vocabulary {
  const byId = Array.from<string | undefined>({ length: rows });
  const put = (token: string, id: number) => {
    if (id >= rows) throw new Error(`the token ${JSON.stringify(token)} has the id ${id}, the embedding ${rows} rows`);
    byId[id] = token;
  };
  for (const [token, id] of model) put(token, id);
  for (const [id, { content }] of added) put(content, id);
  const types = new Map(Array.from(added, ([id, token]) => [id, { type: typeOfAdded(token) }]));
  const ids = new Map(Array.from(added, ([id, { content }]) => [content, id]));
  return { byId, added: types, model, idOf: (token) => ids.get(token) ?? model.get(token) };
}

/** Texts that mark up a text although they are not called special, as llama.cpp's converter recognizes them. */
const LOOKS_SPECIAL = /^<\|.*\|>$|^<｜.*｜>$|^<(pad|mask|2mass|unused\d+)>$|^\[@BOS@\]$/s;

const typeOfAdded = ({ content, special }: Added): number =>
  special || LOOKS_SPECIAL.test(content) ? TYPES.control : TYPES.userDefined;
