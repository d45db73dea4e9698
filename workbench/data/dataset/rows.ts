// The rows of a data set's files as texts, some at a time, in order. Null rows are skipped: they hold no text, not an
// empty one, and would give no token either way.

import { DataError, listed } from "../errors.ts";
import { formatOf } from "./conventions.ts";
import { jsonRows, jsonTexts, type LocatedJson } from "./json-rows.ts";
import { openParquet, type ParquetFile } from "./parquet-file.ts";
import { type TextPart, textOf } from "./text-file.ts";

export interface Rows {
  texts: string[];
  /** share of the file that has been read, 0 to 1 */
  fraction: number;
}

/**
 * @param column of the text; plain text has none
 * @param options.encoding of files of text and of JSON. Default UTF-8
 * @throws DataError when a file is damaged, of no known kind or of another encoding, or lacks the column
 */
export function rowsOf(
  path: string,
  column: string,
  { encoding }: { encoding?: string | undefined } = {},
): AsyncGenerator<Rows> {
  const format = formatOf(path);
  if (format === undefined) {
    throw new DataError(path, "is of no kind that is read here: .parquet, .jsonl, .ndjson, .json or .txt");
  }
  if (format === "parquet") return parquetRows(path, column);
  if (format === "txt") return lineRows(path, { encoding });
  return format === "json" ? jsonRows(path, { column, encoding }) : jsonLineRows(path, { column, encoding });
}

// Files with a row a line: plain text, where the line is the row and keeps its line end, and JSON lines.

interface LineOptions {
  encoding?: string | undefined;
}

export async function* lineRows(path: string, options: LineOptions): AsyncGenerator<Rows> {
  for await (const { lines, fraction } of linesOf(textOf(path, options))) yield { texts: lines, fraction };
}

/** @param options.column field of the objects */
export async function* jsonLineRows(
  path: string,
  { column, ...options }: LineOptions & { column: string },
): AsyncGenerator<Rows> {
  let line = 0;
  for await (const { lines, fraction } of linesOf(textOf(path, options))) {
    const values = lines.map((text): LocatedJson => ({ text, line: ++line }));
    yield { texts: jsonTexts(values, { path, column }), fraction };
  }
}

/** Lines with their ends; the last one may have none. */
async function* linesOf(parts: AsyncIterable<TextPart>): AsyncGenerator<{ lines: string[]; fraction: number }> {
  let rest: string[] = [];
  for await (const { text, fraction } of parts) {
    const last = text.lastIndexOf("\n") + 1;
    if (last === 0) {
      // A line longer than a part is joined once, when its end is there.
      rest.push(text);
      continue;
    }
    const whole = rest.join("") + text.slice(0, last);
    rest = [text.slice(last)];
    yield { lines: whole.match(/[^\n]*\n/g) ?? [], fraction };
  }
  const end = rest.join("");
  if (end !== "") yield { lines: [end], fraction: 1 };
}

// One text column of a parquet file, a row group at a time: the other columns are not read.

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
