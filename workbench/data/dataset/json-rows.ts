// Rows out of JSON: each an object of which one field is the text. A file of the ending .json has one object a line, or
// is one array of objects, or has objects over several lines, one after the other; all of them are read as they come.

import { parseJson } from "../../../hub/text/json.ts";
import { jsonTexts, withoutMark } from "./json-texts.ts";
import { JsonValues } from "./json-values.ts";
import { jsonLineRows } from "./line-rows.ts";
import type { Rows } from "./rows.ts";
import { textOf } from "./text-file.ts";

interface JsonRowsOptions {
  column: string;
  encoding?: string | undefined;
}

/** @throws DataError when the file is no JSON, or a row lacks the column or holds something else in it */
export async function* jsonRows(path: string, options: JsonRowsOptions): AsyncGenerator<Rows> {
  if (await hasObjectLines(path, options)) {
    yield* jsonLineRows(path, options);
    return;
  }
  const values = new JsonValues(path);
  for await (const { text, fraction } of textOf(path, options)) {
    yield { texts: jsonTexts(values.push(text), { path, column: options.column }), fraction };
  }
  values.end();
}

/** By the first line that has something in it; a line too long to see the end of is an object by its first character. */
async function hasObjectLines(path: string, options: JsonRowsOptions): Promise<boolean> {
  for await (const { text } of textOf(path, options)) {
    const json = withoutMark(text).trimStart();
    if (json === "") continue;
    const end = json.indexOf("\n");
    return json.startsWith("{") && (end < 0 || isObject(json.slice(0, end)));
  }
  return true;
}

function isObject(text: string): boolean {
  try {
    return typeof parseJson(text) === "object";
  } catch {
    return false;
  }
}
