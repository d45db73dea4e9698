// The engine's errors. Each message is one line that says what was requested, what is available and what to do.
// `nearest` finds the name that was most likely meant by a misspelled one.

/** A request that cannot be met, such as an unknown engine, a missing device or a stale addon. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  /** what the user can do, an imperative clause without a full stop */
  readonly remedy: string;

  constructor(
    /**
     * what was requested and what is available, e.g. `engine "torch" is not available: the native addon is not built`
     */
    problem: string,
    remedy: string,
    options?: ErrorOptions,
  ) {
    super(`${problem}; ${remedy}`, options);
    this.remedy = remedy;
  }
}

/**
 * Wrong operands or settings of a function, e.g. `linear: weight must be float32 (n_out, 48), got float32 (96, 40)`.
 */
export class ShapeError extends Error {
  override readonly name = "ShapeError";
}

/**
 * Checks the name of something that is being registered. Names are used in flags, file names and Python.
 * @param what is registered, e.g. `structure`
 * @throws EngineError unless it is lowercase letters, digits, hyphens and underscores, and starts with a letter
 */
export function expectName(what: string, name: unknown): void {
  if (typeof name === "string" && /^[a-z][a-z0-9_-]*$/.test(name)) return;
  const got = name === undefined ? "none" : JSON.stringify(name);
  const rule = "lowercase letters, digits, hyphens and underscores, the first a letter";
  throw new EngineError(
    `the name of ${what === "architecture" ? "an" : "a"} ${what} must be ${rule}, got ${got}`,
    "choose such a name",
  );
}

/** Number of single-character insertions, deletions and replacements that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(replaced, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}

/**
 * Finds the known name that a misspelled name most likely stands for.
 * @returns the closest of `known` by edit distance; undefined if none is close enough
 */
export function nearest(asked: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(asked.length / 2)) + 1;
  for (const name of known) {
    const distance = editDistance(asked.toLowerCase(), name.toLowerCase());
    if (distance < least) {
      best = name;
      least = distance;
    }
  }
  return best;
}
