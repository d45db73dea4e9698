// One text column of a parquet file, a row group at a time: the other columns are not read.

import { DataError, listed } from "../errors.ts";
import { openParquet, type ParquetFile } from "./parquet-file.ts";
import type { Rows } from "./rows.ts";

/** Texts handed on together. */
const ROWS_AT_A_TIME = 65536;

/** @throws DataError when the file is damaged, or the column is not there or holds no text */
export async function* parquetRows(path: string, column: string): AsyncGenerator<Rows> {
  const file = await openParquet(path);
  try {
    checkColumn(file, column);
    for await (const {
      rowStart,
      values: [values = []],
    } of file.groups([column])) {
      for (let start = 0; start < values.length; start += ROWS_AT_A_TIME) {
        const end = Math.min(values.length, start + ROWS_AT_A_TIME);
        const texts = textsOf(
          Array.from({ length: end - start }, (_, i) => values[start + i]),
          { path, column },
        );
        yield { texts, fraction: (rowStart + end) / Math.max(1, file.rows) };
      }
    }
  } finally {
    await file.close();
  }
}

function checkColumn({ path, columns }: ParquetFile, column: string): void {
  const found = columns.find(({ element }) => element.name === column);
  if (!found) {
    const names = columns.map(({ element }) => element.name);
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
