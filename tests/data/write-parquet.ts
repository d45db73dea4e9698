// Writes small parquet files from the format's specification, so that the reader meets more than the files at hand: nulls,
// several row groups, several columns, pairs of bytes and path as images are kept in, codecs. Plain encoding, one page a
// column chunk.

import { gzipSync, zstdCompressSync } from "node:zlib";

export const CODECS = {
  none: [0, (bytes: Uint8Array) => bytes],
  gzip: [2, (bytes: Uint8Array) => gzipSync(bytes)],
  zstd: [6, (bytes: Uint8Array) => zstdCompressSync(bytes)],
} as const;

export interface ParquetImage {
  bytes: Uint8Array | null;
  path: string | null;
}
type Plain = (string | null)[] | (Uint8Array | null)[] | number[] | bigint[];
export type ParquetValues = Plain | ParquetImage[];
type Columns = Record<string, ParquetValues>;

interface ParquetOptions {
  codec?: keyof typeof CODECS;
  /** of the file's metadata */
  entries?: Record<string, string>;
  /** rows that the metadata claim of each row group. Default: those it has */
  claimed?: readonly number[];
}

/** @param groups values by column, a record a row group */
export function parquetFile(groups: Columns[], options: keyof typeof CODECS | ParquetOptions = {}): Uint8Array {
  const {
    codec = "none",
    entries = {},
    claimed = groups.map(rowsIn),
  } = typeof options === "string" ? { codec: options } : options;
  const parts: Uint8Array[] = [utf8("PAR1")];
  let offset = 4;
  const rowGroups = groups.map((columns, i) => {
    let bytes = 0;
    const chunks = leavesOf(columns).map(({ path, values }) => {
      const [number, compress] = CODECS[codec];
      const body = pageBody(values);
      const stored = compress(body);
      const header = struct(
        [1, i32(0)],
        [2, i32(body.length)],
        [3, i32(stored.length)],
        [5, pageHeader(values.length)],
      );
      const place = offset;
      parts.push(Uint8Array.from(header.bytes), stored);
      offset += header.bytes.length + stored.length;
      const sizes = [header.bytes.length + body.length, offset - place];
      bytes += sizes[0] as number;
      const about = struct(
        [1, i32(TYPES[kindOf(values)])],
        [2, list([i32(0)])],
        [3, list(path.map(binary))],
        [4, i32(number)],
        [5, i64(values.length)],
        [6, i64(sizes[0] as number)],
        [7, i64(sizes[1] as number)],
        [9, i64(place)],
      );
      return struct([2, i64(place)], [3, about]);
    });
    return struct([1, list(chunks)], [2, i64(bytes)], [3, i64(claimed[i] as number)]);
  });
  const first = groups[0] as Columns;
  const columns = Object.entries(first).flatMap(([name, values]) => [
    ...(isImages(values) ? [struct([3, i32(0)], [4, binary(name)], [5, i32(2)])] : []),
    ...leavesOf({ [name]: values }).map(({ path, values: leaf }) => element(path.at(-1) as string, leaf)),
  ]);
  const schema = [struct([4, binary("schema")], [5, i32(Object.keys(first).length)]), ...columns];
  const rows = claimed.reduce((sum, count) => sum + count, 0);
  const pairs = Object.entries(entries).map(([key, value]) => struct([1, binary(key)], [2, binary(value)]));
  const footer = Uint8Array.from(
    struct(
      [1, i32(1)],
      [2, list(schema)],
      [3, i64(rows)],
      [4, list(rowGroups)],
      ...(pairs.length > 0 ? [[5, list(pairs)] as Field] : []),
    ).bytes,
  );
  return joined([...parts, footer, littleEndian(footer.length), utf8("PAR1")]);
}

interface Value {
  type: number;
  bytes: number[];
}
type Field = [id: number, value: Value];

const TYPES = { text: 6, bytes: 6, double: 5, integer: 2 } as const;

const isImages = (values: ParquetValues): values is ParquetImage[] =>
  values.some((value) => typeof value === "object" && value !== null && "bytes" in value);

function kindOf(values: Plain): keyof typeof TYPES {
  const present = (values as unknown[]).find((value) => value !== null);
  if (typeof present === "number") return "double";
  if (typeof present === "bigint") return "integer";
  return present instanceof Uint8Array ? "bytes" : "text";
}

/** Columns as they are stored: a pair is two of them. */
function leavesOf(columns: Columns): { path: string[]; values: Plain }[] {
  return Object.entries(columns).flatMap(([name, values]) =>
    isImages(values)
      ? [
          { path: [name, "bytes"], values: values.map(({ bytes }) => bytes) },
          { path: [name, "path"], values: values.map(({ path }) => path) },
        ]
      : [{ path: [name], values }],
  );
}

function element(name: string, values: Plain): Value {
  const kind = kindOf(values);
  const optional = kind === "text" || kind === "bytes";
  return struct(
    [1, i32(TYPES[kind])],
    [3, i32(optional ? 1 : 0)],
    [4, binary(name)],
    ...(kind === "text" ? [[6, i32(0)] as Field] : []),
  );
}

const rowsIn = (group: Columns) => (Object.values(group)[0] as ParquetValues).length;
const pageHeader = (count: number) => struct([1, i32(count)], [2, i32(0)], [3, i32(3)], [4, i32(3)]);

function pageBody(values: Plain): Uint8Array {
  const kind = kindOf(values);
  if (kind === "double") return new Uint8Array(Float64Array.from(values as number[]).buffer);
  if (kind === "integer") return new Uint8Array(BigInt64Array.from(values as bigint[]).buffer);
  // Definition levels: a run of one for each value, 1 where it is there.
  const levels = Uint8Array.from((values as unknown[]).flatMap((value) => [2, value === null ? 0 : 1]));
  const present = (values as (string | Uint8Array | null)[]).filter((value) => value !== null);
  const texts = present.map((value) => (typeof value === "string" ? utf8(value) : value));
  return joined([littleEndian(levels.length), levels, ...texts.flatMap((text) => [littleEndian(text.length), text])]);
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
}
const i32 = (value: number): Value => ({ type: 5, bytes: varint(2 * value) });
const i64 = (value: number): Value => ({ type: 6, bytes: varint(value < 0 ? -2 * value - 1 : 2 * value) });
const binary = (text: string): Value => ({ type: 8, bytes: [...varint(utf8(text).length), ...utf8(text)] });
const list = (values: Value[]): Value => ({
  type: 9,
  bytes: [
    ...(values.length < 15
      ? [16 * values.length + (values[0] as Value).type]
      : [240 + (values[0] as Value).type, ...varint(values.length)]),
    ...values.flatMap(({ bytes }) => bytes),
  ],
});
function struct(...fields: Field[]): Value {
  let previous = 0;
  const bytes = fields.flatMap(([id, value]) => {
    const head = 16 * (id - previous) + value.type;
    previous = id;
    return [head, ...value.bytes];
  });
  return { type: 12, bytes: [...bytes, 0] };
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
function littleEndian(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}
function joined(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
