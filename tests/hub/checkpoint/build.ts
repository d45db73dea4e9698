// Checkpoints made by hand, byte by byte, so that they can be wrong in any way: a writer of pickles, of zip archives and
// of the legacy form. It shares no code with the readers.

import { crc32, deflateRawSync } from "node:zlib";

/** Bytes of an opcode's text or of raw numbers, one after the other. */
export function bytesOf(...parts: (string | number | Uint8Array)[]): Uint8Array {
  return new Uint8Array(
    Buffer.concat(
      parts.map((part) => {
        if (typeof part === "number") return Buffer.of(part);
        return typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.from(part);
      }),
    ),
  );
}

function littleEndian(value: number | bigint, bytes: number): Uint8Array {
  const buffer = new Uint8Array(8);
  new DataView(buffer.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
  return buffer.slice(0, bytes);
}
const u16 = (value: number) => littleEndian(value, 2);
const u32 = (value: number) => littleEndian(value, 4);
const u64 = (value: number | bigint) => littleEndian(value, 8);

/** Opcodes that push a value. */
export const push = {
  text: (text: string) => bytesOf("X", u32(Buffer.byteLength(text)), new TextEncoder().encode(text)),
  int: (value: number | bigint) => bytesOf(0x8a, 8, u64(value)),
  tuple: (...items: Uint8Array[]) => bytesOf("(", ...items, "t"),
  list: (...items: Uint8Array[]) => bytesOf("](", ...items, "e"),
  dict: (entries: Record<string, Uint8Array>) =>
    bytesOf("}(", ...Object.entries(entries).flatMap(([key, value]) => [push.text(key), value]), "u"),
  global: (module: string, name: string) => bytesOf("c", `${module}\n${name}\n`),
  call: (module: string, name: string, ...args: Uint8Array[]) =>
    bytesOf(push.global(module, name), push.tuple(...args), "R"),
};

export interface TensorText {
  key?: string;
  storage?: string;
  /** elements of the storage */
  length: number;
  offset?: number;
  shape: number[];
  strides: number[];
  /** legacy files: (key, offset, elements) of a view of the storage */
  view?: Uint8Array;
}

export function tensor({ key = "0", storage = "FloatStorage", length, offset = 0, shape, strides, view }: TensorText) {
  const sizes = (values: number[]) => push.tuple(...values.map(push.int));
  const id = [push.text("storage"), push.global("torch", storage), push.text(key), push.text("cpu"), push.int(length)];
  return push.call(
    "torch._utils",
    "_rebuild_tensor_v2",
    bytesOf(push.tuple(...id, ...(view ? [view] : [])), "Q"),
    push.int(offset),
    sizes(shape),
    sizes(strides),
    bytesOf(0x89),
    push.call("collections", "OrderedDict"),
  );
}

/** A whole pickle of protocol 2. */
export function pickle(value: Uint8Array): Uint8Array {
  return bytesOf(0x80, 2, value, ".");
}

export interface ZipOptions {
  deflated?: boolean;
  /** sizes, offsets and counts in 64 bits, though they need none */
  zip64?: boolean;
  comment?: string;
}

/** An archive of these entries. */
export function zip(
  entries: Record<string, Uint8Array>,
  { deflated = false, zip64 = false, comment = "" }: ZipOptions = {},
) {
  const locals: Uint8Array[] = [];
  const centrals: Uint8Array[] = [];
  let offset = 0;
  for (const [name, content] of Object.entries(entries)) {
    const packed = deflated ? deflateRawSync(content) : content;
    const method = u16(deflated ? 8 : 0);
    const sizes = zip64 ? [u32(0xffffffff), u32(0xffffffff)] : [u32(packed.length), u32(content.length)];
    const common = [u16(0), method, u16(0), u16(0), u32(crc32(content)), ...sizes, u16(name.length)];
    const padding = bytesOf("FB", u16(5), "ZZZZZ"); // PyTorch pads the local header only
    const wide = zip64 ? bytesOf(u16(1), u16(24), u64(content.length), u64(packed.length), u64(offset)) : bytesOf();
    const local = bytesOf("PK\x03\x04", u16(20), ...common, u16(padding.length), name, padding, packed);
    locals.push(local);
    const place = u32(zip64 ? 0xffffffff : offset);
    const rest = [u16(wide.length), u16(0), u16(0), u16(0), u32(0), place];
    centrals.push(bytesOf("PK\x01\x02", u16(20), u16(20), ...common, ...rest, name, wide));
    offset += local.length;
  }
  const directory = bytesOf(...centrals);
  const count = centrals.length;
  return bytesOf(...locals, directory, zipEnd({ count, size: directory.length, start: offset, zip64, comment }));
}

interface ZipEnd {
  count: number;
  size: number;
  start: number;
  zip64: boolean;
  comment?: string;
}

/** What follows the central directory. */
export function zipEnd({ count, size, start, zip64, comment = "" }: ZipEnd): Uint8Array {
  const end = (counts: number, bytes: number, at: number) =>
    bytesOf("PK\x05\x06", u16(0), u16(0), u16(counts), u16(counts), u32(bytes), u32(at), u16(comment.length), comment);
  if (!zip64) return end(count, size, start);
  const wide = [u64(44), u16(45), u16(45), u32(0), u32(0), u64(count), u64(count), u64(size), u64(start)];
  const locator = bytesOf("PK\x06\x07", u32(0), u64(start + size), u32(1));
  return bytesOf("PK\x06\x06", ...wide, locator, end(0xffff, 0xffffffff, 0xffffffff));
}

/** One entry's records in a 64-bit archive, for content that is written elsewhere. */
export function zip64Records(name: string, { size, crc, offset }: { size: number; crc: number; offset: number }) {
  const common = [u16(0), u16(0), u16(0), u16(0), u32(crc), u32(0xffffffff), u32(0xffffffff), u16(name.length)];
  const wide = bytesOf(u16(1), u16(24), u64(size), u64(size), u64(offset));
  return {
    local: bytesOf("PK\x03\x04", u16(45), ...common, u16(0), name),
    central: bytesOf(
      "PK\x01\x02",
      u16(45),
      u16(45),
      ...common,
      u16(28),
      u16(0),
      u16(0),
      u16(0),
      u32(0),
      u32(0xffffffff),
      name,
      wide,
    ),
  };
}

/** A checkpoint in an archive: the pickled value and its storages by key. */
export function checkpoint(value: Uint8Array, storages: Record<string, Uint8Array> = {}, options: ZipOptions = {}) {
  const data = Object.entries(storages).map(([key, bytes]) => [`archive/data/${key}`, bytes] as const);
  return zip(
    { "archive/data.pkl": pickle(value), ...Object.fromEntries(data), "archive/version": bytesOf("3\n") },
    options,
  );
}

export interface LegacyOptions {
  littleEndian?: boolean;
  version?: number;
}

/** The legacy form: elements (not bytes) of each storage stand before it. */
export function legacy(
  value: Uint8Array,
  storages: Record<string, { length: number; bytes: Uint8Array }> = {},
  { littleEndian = true, version = 1001 }: LegacyOptions = {},
): Uint8Array {
  const magic = bytesOf(0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19);
  const system = push.dict({ protocol_version: push.int(1001), little_endian: bytesOf(littleEndian ? 0x88 : 0x89) });
  return bytesOf(
    ...[magic, push.int(version), system, value, push.list(...Object.keys(storages).map(push.text))].map(pickle),
    ...Object.values(storages).flatMap(({ length, bytes }) => [u64(length), bytes]),
  );
}
