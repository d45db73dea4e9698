// A growing list of ids.

/** A growing list of ids in an Int32Array, which takes an eighth of the memory of an Array. */
export class IdList {
  #ids: Int32Array<ArrayBuffer>;
  #length = 0;

  constructor(capacity = 1024) {
    this.#ids = new Int32Array(Math.max(1, capacity));
  }

  get length(): number {
    return this.#length;
  }

  push(id: number): void {
    if (this.#length === this.#ids.length) this.#grow(this.#length + 1);
    this.#ids[this.#length++] = id;
  }

  pushAll(ids: ArrayLike<number>): void {
    if (this.#length + ids.length > this.#ids.length) this.#grow(this.#length + ids.length);
    this.#ids.set(ids, this.#length);
    this.#length += ids.length;
  }

  /** returns a copy of the ids in a buffer of its own */
  take(): Int32Array<ArrayBuffer> {
    return this.#ids.slice(0, this.#length);
  }

  #grow(least: number): void {
    const larger = new Int32Array(Math.max(least, 2 * this.#ids.length));
    larger.set(this.#ids.subarray(0, this.#length));
    this.#ids = larger;
  }
}
