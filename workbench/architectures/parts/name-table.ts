// Translates between two namings of the same parameters, in both directions, by a table of patterns. `#` stands for a
// number. A pattern matches a whole name, or the beginning of a name up to a dot. If several patterns match, the
// longest pattern is used.

/** Two patterns of the same parameter: the workbench's and the other naming's. */
export type NamePair = readonly [ours: string, theirs: string];

/** Translates names in both directions. */
export interface NameTable {
  /** undefined if no pattern matches */
  toTheirs(name: string): string | undefined;
  /** undefined if no pattern matches */
  toOurs(name: string): string | undefined;
}

/** Makes a table from pairs of patterns. Both patterns of a pair have the same number of `#`. */
export function nameTable(pairs: readonly NamePair[]): NameTable {
  return {
    toTheirs: translator(pairs),
    toOurs: translator(pairs.map(([ours, theirs]) => [theirs, ours])),
  };
}

function translator(pairs: readonly NamePair[]): (name: string) => string | undefined {
  const rules = [...pairs]
    .sort(([a], [b]) => b.length - a.length)
    .map(([from, to]) => ({
      pattern: new RegExp(`^${from.replaceAll(".", "\\.").replaceAll("#", "(\\d+)")}(?=\\.|$)`),
      to,
    }));
  return (name) => {
    for (const { pattern, to } of rules) {
      const found = pattern.exec(name);
      if (!found) continue;
      let at = 1;
      return to.replaceAll("#", () => found[at++] ?? "") + name.slice(found[0].length);
    }
    return undefined;
  };
}

/** Identifies the naming of Hugging Face's models without a head, whose names have no prefix. */
const BARE = "(bare)";

/**
 * TensorNames of a model whose checkpoints have timm's names, which are the workbench's, or Hugging Face's. A model
 * without a head is saved with the prefix of a model with one.
 * @param prefix prefix of all of Hugging Face's names except the head's, in a model with a head
 */
export const timmOrTransformersNames = (table: NameTable, prefix: string) => ({
  prefixes: ["", prefix, BARE],
  savedPrefix: (by: string): string => (by === BARE ? prefix : by),
  prefixOf: ({ naming }: { naming: "timm" | "transformers" }): string => (naming === "timm" ? "" : prefix),
  storedName(name: string, by: string): string {
    if (by !== prefix && by !== BARE) return name;
    const theirs = table.toTheirs(name) ?? name;
    return by === BARE && theirs.startsWith(prefix) ? theirs.slice(prefix.length) : theirs;
  },
  parameterName(stored: string, by: string): string {
    if (by !== prefix && by !== BARE) return stored;
    return table.toOurs(by === BARE ? prefix + stored : stored) ?? stored;
  },
});
