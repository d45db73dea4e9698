// Changes entries of a map without moving them: parameters and layers of a model keep their order.

/** New entries in the place of the first of the old ones. */
export function replaceEntries<V>(
  map: Map<string, V>,
  old: readonly string[],
  added: Iterable<readonly [string, V]>,
): void {
  const entries = [...map];
  const at = entries.findIndex(([name]) => name === old[0]);
  const others = entries.filter(([name]) => !old.includes(name));
  map.clear();
  for (const [name, value] of [...others.slice(0, at), ...added, ...others.slice(at)]) map.set(name, value);
}
