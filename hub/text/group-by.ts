// Groups like those of Map.groupBy. Bun, Deno and Node from version 21 have that function. The npm package also runs on
// Node 20, which does not have it, so the code uses this one. The build of the package fails if code uses functions that
// Node 20 does not have.

/**
 * The items by the key of each, as `Map.groupBy` returns them. Groups are in the order of their first items, and the
 * items of a group keep their order.
 *
 * ```ts
 * const byRemainder = groupBy([1, 2, 3, 4, 5], (n) => n % 2); // 1 → [1, 3, 5], 0 → [2, 4]
 * ```
 *
 * @param items are read once
 * @param keyOf returns the key of an item. Keys are compared as those of a Map
 */
export function groupBy<Item, Key>(items: Iterable<Item>, keyOf: (item: Item) => Key): Map<Key, Item[]> {
  const groups = new Map<Key, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
