// A cursor over the bytes of a pickle: its numbers, texts and lines. Every read is checked against the end.

import { Buffer } from "node:buffer";

/** The bytes ended inside the pickle. More of them may help, where there are more. */
export class EndOfPickle extends Error {
  override readonly name = "EndOfPickle";
}

export class PickleReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at: number;

  constructor(bytes: Uint8Array, start = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = start;
  }

  /** bytes read so far, from the start of the array */
  get position(): number {
    return this.#at;
  }

  /** @returns where the bytes were that it steps over */
  #advance(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.length - at) throw new EndOfPickle(`ends at byte ${this.#bytes.length}`);
    this.#at = at + length;
    return at;
  }

  uint8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  uint16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  uint32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  int32(): number {
    return this.#view.getInt32(this.#advance(4), true);
  }

  /** a length; over 2^53 it is inexact, and past the end in any case */
  uint64(): number {
    return Number(this.#view.getBigUint64(this.#advance(8), true));
  }

  /** pickles have their doubles, and nothing else, big-endian */
  float64(): number {
    return this.#view.getFloat64(this.#advance(8), false);
  }

  /** a copy */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const at = this.#advance(length);
    return this.#bytes.slice(at, at + length);
  }

  utf8(length: number): string {
    return new TextDecoder().decode(this.bytes(length));
  }

  latin1(length: number): string {
    return Buffer.from(this.bytes(length)).toString("latin1");
  }

  /** up to the next newline, which it steps over */
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end === -1) throw new EndOfPickle(`ends at byte ${this.#bytes.length}`);
    const text = this.utf8(end - this.#at);
    this.#at++;
    return text;
  }

  /** a signed integer of any length, little-endian */
  long(length: number): bigint {
    const bytes = this.bytes(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] as number);
    return BigInt.asIntN(8 * length, value);
  }
}
