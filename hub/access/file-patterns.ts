// Include and exclude patterns for the files of a repository. They mean the same as in Python's client (fnmatch): `*`
// and `?` also match slashes, `[ab]` and `[!ab]` are sets, and a pattern that ends with a slash matches everything
// below that folder.

/** Patterns as the user gave them. Without `include` all files match. */
export interface FilePatterns {
  include?: readonly string[] | undefined;
  exclude?: readonly string[] | undefined;
}

/**
 * Makes a function that tells whether a path matches `include` (default: every path does) and does not match
 * `exclude`.
 */
export function fileFilter({ include, exclude = [] }: FilePatterns): (path: string) => boolean {
  const wanted = include?.map(toExpression);
  const unwanted = exclude.map(toExpression);
  const matches = (expressions: readonly RegExp[], path: string) => expressions.some((one) => one.test(path));
  return (path) => (wanted === undefined || matches(wanted, path)) && !matches(unwanted, path);
}

/** Describes the patterns in a message: `matches *.json and is not excluded by a/*`. Empty if there are none. */
export function describePatterns({ include, exclude }: FilePatterns): string {
  const parts = [
    ...(include?.length ? [`matches ${include.join(", ")}`] : []),
    ...(exclude?.length ? [`is not excluded by ${exclude.join(", ")}`] : []),
  ];
  return parts.join(" and ");
}

function toExpression(pattern: string): RegExp {
  const whole = pattern.endsWith("/") ? `${pattern}*` : pattern;
  // Every other character matches itself, including a bracket that is not closed.
  const source = whole.replace(/\*+|\?|\[(!|(?!!))(\][^\]]*|[^\]]+)\]|[\s\S]/gu, (text, not?: string, set?: string) => {
    if (text.startsWith("*")) return "[^]*";
    if (text === "?") return "[^]";
    if (set !== undefined) return `[${not ? "^" : ""}${set.replace(/[\\\][^&~]/g, "\\$&")}]`;
    return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  });
  try {
    return new RegExp(`^${source}$`, "u");
  } catch {
    // In Python, an invalid set such as [z-a] matches nothing.
    return /(?!)/;
  }
}
