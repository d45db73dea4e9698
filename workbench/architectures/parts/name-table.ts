// Two namings of the same parameters as a table of patterns, read both ways. `#` stands for a number; a name belongs to a
// pattern that is the whole of it or ends before one of its dots, the longest first.

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

/** In the place of a prefix: names of a model of Hugging Face's without its head, which begin with nothing. */
export const BARE = "(bare)";

/** @param prefix what names of such a model with its head begin with, but the head's own */
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
