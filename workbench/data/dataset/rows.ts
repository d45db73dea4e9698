// The rows of a data set's files as texts, some at a time, in order. Null rows are skipped: they hold no text, not an
// empty one, and would give no token either way.

import { DataError } from "../errors.ts";
import { formatOf } from "./conventions.ts";
import { jsonRows } from "./json-rows.ts";
import { jsonLineRows, lineRows } from "./line-rows.ts";
import { parquetRows } from "./parquet-rows.ts";

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
