// Reads the vocabulary of a model: an object of tokens and ids.

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
