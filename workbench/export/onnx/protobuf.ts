// The wire format of Protocol Buffers (protobuf.dev/programming-guides/encoding), as far as ONNX needs it. A message is
// a list of pieces: bytes in memory, and tensors whose bytes are generated when the message is written. Libraries hold
// whole messages in memory; here a file of 2 GB takes the memory of its largest piece.

import type { TensorSource } from "../../../hub/safetensors/index.ts";

/** A tensor within a message. */
export interface StreamedPiece {
  source: TensorSource;
  byteLength: number;
}

/** A part of a message. */
export type Piece = Uint8Array | StreamedPiece;

/** Kinds of fields on the wire. */
const VARINT = 0;
const DELIMITED = 2;
const FIXED_32 = 5;

/** A message that grows field by field. */
export class Message {
  readonly pieces: Piece[] = [];
  byteLength = 0;

  /** An integer of 64 bits, or an enumeration. Negative numbers take ten bytes. */
  int(field: number, value: number | bigint): this {
    return this.tagged(field, VARINT).add(varint(BigInt(value)));
  }

  /** A number of 32 bits. */
  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    return this.tagged(field, FIXED_32).add(bytes);
  }

  string(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  bytes(field: number, value: Uint8Array): this {
    return this.tagged(field, DELIMITED).length(value.byteLength).add(value);
  }

  /** The bytes of a tensor, generated when the message is written. */
  stream(field: number, piece: StreamedPiece): this {
    return this.tagged(field, DELIMITED).length(piece.byteLength).add(piece);
  }

  message(field: number, { pieces, byteLength }: Message): this {
    this.tagged(field, DELIMITED).length(byteLength);
    for (const piece of pieces) this.pieces.push(piece);
    this.byteLength += byteLength;
    return this;
  }

  /** The same kind of message for each item. */
  messages<Item>(field: number, items: Iterable<Item>, encode: (item: Item) => Message): this {
    for (const item of items) this.message(field, encode(item));
    return this;
  }

  private tagged(field: number, kind: number): this {
    return this.add(varint(BigInt(field * 8 + kind)));
  }

  private length(value: number): this {
    return this.add(varint(BigInt(value)));
  }

  private add(piece: Piece): this {
    this.pieces.push(piece);
    this.byteLength += piece.byteLength;
    return this;
  }
}

/** Seven bits a byte, the lowest first; the top bit says that more follow. */
function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
