// The vocabulary of a model: an object of tokens and ids, of which some may be the bytes of unknown characters.

/** Largest id; ids are 32-bit numbers. */
const LARGEST = 2 ** 31 - 2;

/** Reads a vocabulary. @throws Error if it is not one */
export function readVocabulary(vocab: unknown, name: string): Map<string, number> {
  if (typeof vocab !== "object" || vocab === null || Array.isArray(vocab)) {
    throw new Error(`${name}: vocab: expected an object of tokens and ids`);
  }
  const vocabulary = new Map<string, number>();
  for (const [token, id] of Object.entries(vocab)) {
    if (!Number.isInteger(id) || id < 0 || id > LARGEST) {
      throw new Error(`${name}: vocab: the token ${JSON.stringify(token)} has the id ${JSON.stringify(id)}`);
    }
    vocabulary.set(token, id);
  }
  return vocabulary;
}

const utf8 = new TextEncoder();

/** Ids of the tokens of a text's bytes, `<0x00>` to `<0xFF>`; undefined if one is not in the vocabulary. */
export function byteIds(vocabulary: ReadonlyMap<string, number>, text: string): number[] | undefined {
  const ids: number[] = [];
  for (const byte of utf8.encode(text)) {
    const id = vocabulary.get(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    if (id === undefined) return undefined;
    ids.push(id);
  }
  return ids;
}

/** Returns the function that gives the id of the unknown token. @throws Error when there is none and it is needed */
export function unknownIdOf(vocabulary: ReadonlyMap<string, number>, unknown: string): () => number {
  return () => {
    const id = vocabulary.get(unknown);
    if (id !== undefined) return id;
    throw new Error(`no id, and the unknown token ${JSON.stringify(unknown)} is not in the vocabulary`);
  };
}
