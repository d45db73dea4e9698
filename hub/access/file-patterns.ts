// Which files of a repository are meant: include and exclude patterns with the meaning that Python's client gives them
// (fnmatch: `*` and `?` match slashes too, `[ab]` and `[!ab]` are sets, a name that ends in a slash means all under it).

export interface FilePatterns {
  include?: readonly string[] | undefined;
  exclude?: readonly string[] | undefined;
}

/** Whether a path is let through by `include`, where there is one, and not held back by `exclude`. */
export function fileFilter({ include, exclude = [] }: FilePatterns): (path: string) => boolean {
  const wanted = include?.map(toExpression);
  const unwanted = exclude.map(toExpression);
  const matches = (expressions: readonly RegExp[], path: string) => expressions.some((one) => one.test(path));
  return (path) => (wanted === undefined || matches(wanted, path)) && !matches(unwanted, path);
}

/** Patterns as they were given, for messages. */
export function describePatterns({ include, exclude }: FilePatterns): string {
  const parts = [
    ...(include?.length ? [`matches ${include.join(", ")}`] : []),
    ...(exclude?.length ? [`is not excluded by ${exclude.join(", ")}`] : []),
  ];
  return parts.join(" and ");
}

function toExpression(pattern: string): RegExp {
  const whole = pattern.endsWith("/") ? `${pattern}*` : pattern;
  // An unclosed bracket stands for itself, as does every other character.
  const source = whole.replace(/\*+|\?|\[(!|(?!!))(\][^\]]*|[^\]]+)\]|[\s\S]/gu, (text, not?: string, set?: string) => {
    if (text.startsWith("*")) return "[^]*";
    if (text === "?") return "[^]";
    if (set !== undefined) return `[${not ? "^" : ""}${set.replace(/[\\\][^&~]/g, "\\$&")}]`;
    return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  });
  try {
    return new RegExp(`^${source}$`, "u");
  } catch {
    // A set such as [z-a] matches nothing in Python.
    return /(?!)/;
  }
}
