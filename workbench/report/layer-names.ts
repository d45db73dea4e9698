// Shortens the names of layers for tables, pictures and axes so that different layers keep different names.

/**
 * Shortens one name by cutting it in the middle: `vit.encoder.layer.0.output` becomes `vit.en…0.output`.
 * @param length maximum number of characters of the result
 */
export function shortName(name: string, length: number): string {
  if (name.length <= length) return name;
  const head = Math.floor((length - 1) / 2);
  return `${name.slice(0, head)}…${name.slice(name.length - (length - 1 - head))}`;
}

/**
 * Shortens the names of a list, each to at most `length` characters. Leading parts (up to a dot) of a name that is too
 * long are removed, as long as no other name has the same ending: `vit.encoder.layer.0.output.dense` becomes
 * `…0.output.dense`. If the result is still too long, it is cut in the middle.
 */
export function shortNames(names: readonly string[], length: number): string[] {
  const counts = new Map<string, number>();
  for (const ending of [...new Set(names)].flatMap(endingsOf)) counts.set(ending, (counts.get(ending) ?? 0) + 1);
  return names.map((name) => {
    if (name.length <= length) return name;
    const unique = endingsOf(name).filter((ending, i) => i === 0 || counts.get(ending) === 1);
    const [, ...shorter] = unique;
    const fitting = shorter.find((ending) => ending.length < length);
    if (fitting !== undefined) return `…${fitting}`;
    const shortest = shorter.at(-1);
    return shortName(shortest === undefined ? name : `…${shortest}`, length);
  });
}

/** The name itself and its endings after each dot, longest first. */
function endingsOf(name: string): string[] {
  const parts = name.split(".");
  return parts.map((_, i) => parts.slice(i).join("."));
}
