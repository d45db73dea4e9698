// The engine's errors. Each message is one line: what was asked, what there is and what to do. `nearest` finds the name
// that a misspelled one most likely meant, for such a message.

/** A request the engine cannot meet: an unknown engine, a device that is absent, a stale addon. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  /** what the user can do, an imperative clause without a full stop */
  readonly remedy: string;

  constructor(
    /** what was asked and what there is, e.g. `engine "torch" is not available: the native addon is not built` */
    problem: string,
    remedy: string,
    options?: ErrorOptions,
  ) {
    super(`${problem}; ${remedy}`, options);
    this.remedy = remedy;
  }
}

/** Wrong operands of a fused op: `linear: weight must be (n_out, 48), got float32 (96, 40)`. */
export class ShapeError extends Error {
  override readonly name = "ShapeError";
}

/**
 * Checks the name of something that is being registered. Names stand in flags, file names and Python.
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

/** @returns the closest of `known`, or undefined when none is close enough to be what was meant */
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
