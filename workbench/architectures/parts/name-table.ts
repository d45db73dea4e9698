// Translates between two namings of the same parameters by a table of patterns, in both directions. `#` stands for a
// number. A pattern matches a whole name, or its beginning up to a dot; the longest match counts.

export type NamePair = readonly [ours: string, theirs: string];

export interface NameTable {
  /** undefined where no pattern fits */
  toTheirs(name: string): string | undefined;
  toOurs(name: string): string | undefined;
}

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

/** Stands for the prefix of Hugging Face's models without a head, whose names begin with nothing. */
export const BARE = "(bare)";

/** Hugging Face's naming. @param prefix of all names but the head's in a model with a head */
export const transformersNames = (table: NameTable, prefix: string) => ({
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
