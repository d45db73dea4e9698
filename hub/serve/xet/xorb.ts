// Xorbs: chunks of contents, one behind the other, each with a header of 8 bytes and compressed by itself
// (huggingface.co/docs/xet, "Xorb format"). The footer that some clients send repeats what the headers say.

import { HubRefusal } from "../refusal.ts";
import { decodeLz4Frame } from "./lz4.ts";

interface Chunk {
  data: Uint8Array;
  scheme: number;
  /** bytes of the content */
  size: number;
}

/** Of the header's first byte. A footer begins with a letter instead. */
const VERSION = 0;
const HEADER = 8;

/** By the number of the compression. */
const DECODERS: readonly ((chunk: Chunk) => Uint8Array)[] = [
  ({ data }) => data,
  ({ data, size }) => decodeLz4Frame(data, size),
  ({ data, size }) => ungrouped(decodeLz4Frame(data, size)),
];

/** A xorb in memory. Its headers are walked once, however many terms of a shard are in it. */
export class Xorb {
  readonly #bytes: Uint8Array;
  /** where each chunk begins that was looked for, and the one after it */
  readonly #starts = [0];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /**
   * Contents of the chunks `first` … `end - 1`.
   * @throws {HubRefusal} 400 if the xorb has no such chunks or they are damaged
   */
  *chunks({ first, end }: { first: number; end: number }): Generator<Uint8Array> {
    for (let index = first; index < end; index++) {
      const { data, scheme, size } = this.#chunk(index);
      const decode = DECODERS[scheme];
      if (!decode) throw damaged(`chunk ${index} is compressed by method ${scheme}, which this Hub does not know`);
      yield decode({ data, scheme, size });
    }
  }

  #chunk(index: number): Chunk {
    while (this.#starts.length <= index) this.#chunkAt(this.#starts.length - 1);
    return this.#chunkAt(index);
  }

  #chunkAt(index: number): Chunk {
    const bytes = this.#bytes;
    const at = this.#starts[index] as number;
    if (at + HEADER > bytes.length || bytes[at] !== VERSION) throw damaged(`it has no chunk ${index}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER);
    const length = view.getUint32(0, true) >>> 8;
    const [scheme, size] = [view.getUint8(4), view.getUint32(4, true) >>> 8];
    const data = bytes.subarray(at + HEADER, at + HEADER + length);
    if (data.length < length) throw damaged(`it ends inside chunk ${index}`);
    this.#starts[index + 1] = at + HEADER + length;
    return { data, scheme, size };
  }
}

/** Every fourth byte of the content comes first, then those after them: floats compress better so. */
function ungrouped(grouped: Uint8Array): Uint8Array {
  const content = new Uint8Array(grouped.length);
  let from = 0;
  for (let first = 0; first < 4; first++) {
    for (let to = first; to < content.length; to += 4) content[to] = grouped[from++] as number;
  }
  return content;
}

const damaged = (why: string) => new HubRefusal(400, `a xorb is not as it should be: ${why}`);
