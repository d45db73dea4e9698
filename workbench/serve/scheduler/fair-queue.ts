// The queue of those who wait: each client has its own, and the clients take turns, so that one with many requests does
// not hold up the others.

/** Items in the order in which they were added for each client; clients take turns. */
export class FairQueue<Item> {
  /** by client, the client whose turn it is first */
  readonly #lines = new Map<string, Item[]>();
  /** those that were taken already and wait again */
  readonly #returned: Item[] = [];

  get length(): number {
    let count = this.#returned.length;
    for (const line of this.#lines.values()) count += line.length;
    return count;
  }

  push(client: string, item: Item): void {
    const line = this.#lines.get(client);
    if (line) line.push(item);
    else this.#lines.set(client, [item]);
  }

  /** Puts an item that was taken before all others. */
  giveBack(item: Item): void {
    this.#returned.unshift(item);
  }

  /** Takes the next item; undefined if there is none. */
  take(): Item | undefined {
    const returned = this.#returned.shift();
    if (returned !== undefined) return returned;
    const [first] = this.#lines;
    if (!first) return undefined;
    const [client, line] = first;
    const item = line.shift();
    // The client goes to the end of the round.
    this.#lines.delete(client);
    if (line.length > 0) this.#lines.set(client, line);
    return item;
  }

  /** Removes an item, if it waits. */
  remove(item: Item): void {
    const at = this.#returned.indexOf(item);
    if (at >= 0) this.#returned.splice(at, 1);
    for (const [client, line] of this.#lines) {
      const place = line.indexOf(item);
      if (place < 0) continue;
      line.splice(place, 1);
      if (line.length === 0) this.#lines.delete(client);
    }
  }
}
