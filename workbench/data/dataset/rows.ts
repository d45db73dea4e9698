// Reads the rows of data files as texts, in order: parquet and plain text here, JSON in json-rows.ts. Null rows are
// skipped.

import { DataError, listed } from "../errors.ts";
import { formatOf } from "./conventions.ts";
import { jsonLineRows, jsonRows } from "./json-rows.ts";
import { openParquet, type ParquetFile } from "./parquet-file.ts";
import { linesOf, textOf } from "./text-file.ts";

/** Some rows of a file. */
export interface Rows {
  texts: string[];
  /** share of the file that has been read, 0 to 1 */
  fraction: number;
}

/**
 * Reads the rows of a file, whose format is given by its extension.
 * @param column column of the text; ignored for plain text
 * @param options.encoding encoding of text and JSON files. Default UTF-8
 * @throws DataError if the file is damaged, of an unknown format or in another encoding, or lacks the column
 */
export function rowsOf(
  path: string,
  column: string,
  { encoding }: { encoding?: string | undefined } = {},
): AsyncGenerator<Rows> {
  const format = formatOf(path);
  if (format === undefined) {
    throw new DataError(path, "has an unsupported format; expected .parquet, .jsonl, .ndjson, .json or .txt");
  }
  if (format === "parquet") return parquetRows(path, column);
  if (format === "txt") return lineRows(path, { encoding });
  return format === "json" ? jsonRows(path, { column, encoding }) : jsonLineRows(path, { column, encoding });
}

/** Rows of plain text: every line is a row, including its line end. */
async function* lineRows(path: string, options: { encoding: string | undefined }): AsyncGenerator<Rows> {
  for await (const { lines, fraction } of linesOf(textOf(path, options))) yield { texts: lines, fraction };
}

/** Texts yielded at a time. */
const ROWS_AT_A_TIME = 65536;

/** Rows of a parquet file. @throws DataError if the file is damaged, or the column is missing or is not text */
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

/** Checks that a column is text. @throws DataError */
export function checkColumn({ path, columns }: ParquetFile, column: string): void {
  const found = columns.find(({ element }) => element.name === column);
  if (!found) {
    const names = columns.map(({ element }) => element.name);
    throw new DataError(path, `has no column ${JSON.stringify(column)}; available: ${listed(names)}`);
  }
  if (found.children.length > 0 || found.element.type !== "BYTE_ARRAY") {
    const held = found.children.length > 0 ? "nested values" : found.element.type;
    throw new DataError(path, `column ${JSON.stringify(column)} holds ${held}, not text`);
  }
}

/** The texts of a column, without those that are null. @throws DataError for other values */
export function textsOf(values: unknown[], { path, column }: { path: string; column: string }): string[] {
  const present = values.filter((value) => value !== null && value !== undefined);
  const other = present.find((value) => typeof value !== "string");
  if (other === undefined) return present as string[];
  throw new DataError(path, `column ${JSON.stringify(column)} holds a ${typeof other}, not text`);
}
