// Patterns of file paths as data sets' READMEs write them: `*` and `?` within a folder, `**` across folders, `[0-9]` sets. Not
// a shell's: no escapes but a set of one, `[[]`, no choices in braces, and no hidden rules.

/** @param pattern relative, with `/` between folders */
export function globToRegExp(pattern: string): RegExp {
  let source = "";
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i] as string;
    const set = character === "[" ? /^\[[!^]?\]?[^\]]*\]/.exec(pattern.slice(i))?.[0] : undefined;
    if (set) {
      source += toSet(set);
      i += set.length - 1;
    } else if (pattern.startsWith("**/", i)) {
      source += "(?:[^/]+/)*";
      i += 2;
    } else if (pattern.startsWith("**", i)) {
      source += ".*";
      i += 1;
    } else if (character === "*") source += "[^/]*";
    else if (character === "?") source += "[^/]";
    else source += literal(character);
  }
  return new RegExp(`^${source}$`, "s");
}

/** A pattern that matches one path alone. */
export function globOf(path: string): string {
  return path.replace(/[*?[]/g, "[$&]");
}

function toSet(set: string): string {
  const negated = /^\[[!^]/.test(set);
  const members = set.slice(negated ? 2 : 1, -1).replace(/[\\\][^]/g, "\\$&");
  return `[${negated ? "^/" : ""}${members}]`;
}

function literal(character: string): string {
  return character.replace(/[\\^$.*+?()[\]{}|]/, "\\$&");
}
