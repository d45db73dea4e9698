// One text column of a parquet file, a row group at a time: the other columns are not read.

import { type FileMetaData, parquetMetadataAsync, parquetScan, parquetSchema } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { type ByteSource, openFile } from "../../../hub/byte-source.ts";
import { DataError, listed, why } from "../errors.ts";
import type { Rows } from "./rows.ts";

/** Texts handed on together. */
const ROWS_AT_A_TIME = 65536;

/** @throws DataError when the file is damaged, or the column is not there or holds no text */
export async function* parquetRows(path: string, column: string): AsyncGenerator<Rows> {
  const source = await openFile(path, (problem, options) => new DataError(path, problem, options));
  try {
    const file = bufferOf(source);
    const metadata = await orDamaged(path, () => parquetMetadataAsync(file));
    checkColumn(path, metadata, column);
    const scan = await orDamaged(path, () => parquetScan({ file, metadata, compressors, columns: [column] }));
    const total = Number(metadata.num_rows);
    for (const { rowStart, rowEnd } of scan.ranges) {
      const values = await orDamaged(path, () => scan.readColumn({ column, rowStart, rowEnd }));
      if (values.length !== rowEnd - rowStart) {
        throw new DataError(
          path,
          `is damaged: rows ${rowStart} to ${rowEnd} hold ${values.length} values; fetch it again`,
        );
      }
      for (let start = 0; start < values.length; start += ROWS_AT_A_TIME) {
        const end = Math.min(values.length, start + ROWS_AT_A_TIME);
        const texts = textsOf(
          Array.from({ length: end - start }, (_, i) => values[start + i]),
          { path, column },
        );
        yield { texts, fraction: (rowStart + end) / Math.max(1, total) };
      }
    }
  } finally {
    await source.close();
  }
}

function bufferOf(source: ByteSource) {
  const slice = async (start: number, end: number = source.size) => {
    const from = start < 0 ? Math.max(0, source.size + start) : start;
    return (await source.read(from, Math.max(0, Math.min(end, source.size) - from))).buffer;
  };
  return { byteLength: source.size, slice };
}

function checkColumn(path: string, metadata: FileMetaData, column: string): void {
  const { children } = parquetSchema(metadata);
  const found = children.find(({ element }) => element.name === column);
  if (!found) {
    const names = children.map(({ element }) => element.name);
    throw new DataError(path, `has no column ${JSON.stringify(column)}; there is ${listed(names)}`);
  }
  if (found.children.length > 0 || found.element.type !== "BYTE_ARRAY") {
    const held = found.children.length > 0 ? "nested values" : found.element.type;
    throw new DataError(path, `column ${JSON.stringify(column)} holds ${held}, not text`);
  }
}

function textsOf(values: unknown[], { path, column }: { path: string; column: string }): string[] {
  const present = values.filter((value) => value !== null && value !== undefined);
  const other = present.find((value) => typeof value !== "string");
  if (other === undefined) return present as string[];
  throw new DataError(path, `column ${JSON.stringify(column)} holds a ${typeof other}, not text`);
}

async function orDamaged<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(path, `is no parquet file, or a damaged one: ${why(error)}; fetch it again`, { cause: error });
  }
}
