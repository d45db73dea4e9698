// What of a JSON row is its text: one field of an object.

import { parseJson } from "../../../hub/text/json.ts";
import { DataError, listed, why } from "../errors.ts";

export interface LocatedJson {
  text: string;
  /** of the file, where it begins, from 1 */
  line: number;
}

/** The texts of a column; rows that are null there, and lines with nothing in them, are skipped. */
export function jsonTexts(
  values: readonly LocatedJson[],
  { path, column }: { path: string; column: string },
): string[] {
  return values.flatMap(({ text, line }) => {
    const json = line === 1 ? withoutMark(text) : text;
    if (json.trim() === "") return [];
    const field = fieldOf(json, { path, line, column });
    return field === null ? [] : [field];
  });
}

export function withoutMark(text: string): string {
  return text.replace(/^\uFEFF/, "");
}

interface Place {
  path: string;
  line: number;
}

function fieldOf(json: string, { path, line, column }: Place & { column: string }): string | null {
  const row = parseRow(json, { path, line });
  const named = `column ${JSON.stringify(column)}`;
  if (!Object.hasOwn(row, column)) {
    throw new DataError(path, `line ${line} has no ${named}; there is ${listed(Object.keys(row))}`);
  }
  const value = row[column];
  if (value === null) return null;
  if (typeof value !== "string") throw new DataError(path, `line ${line}: ${named} holds a ${typeof value}, not text`);
  if (value.isWellFormed()) return value;
  const problem = `${named} holds half of a surrogate pair, such as \\ud83d alone, which is no character`;
  throw new DataError(path, `line ${line}: ${problem}; mend or remove the row`);
}

function parseRow(json: string, { path, line }: Place): Record<string, unknown> {
  let row: unknown;
  try {
    row = parseJson(json);
  } catch (error) {
    throw new DataError(path, `line ${line} is no JSON: ${why(error)}; a file has one object a line`, { cause: error });
  }
  if (typeof row === "object" && row !== null && !Array.isArray(row)) return row as Record<string, unknown>;
  throw new DataError(path, `line ${line} is no object; a file has one object a line`);
}
