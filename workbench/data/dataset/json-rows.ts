// Reads rows of JSON files: the text of each row is one field of an object. A .json file has one object per line, or is
// one array of objects, or a sequence of objects over several lines. Files are read in parts, so that they may be
// larger than memory.

import { parseJson } from "../../../hub/text/json.ts";
import { DataError, listed, why } from "../errors.ts";
import type { Rows } from "./rows.ts";
import { linesOf, textOf } from "./text-file.ts";

interface JsonRowsOptions {
  column: string;
  encoding?: string | undefined;
}

/**
 * Rows of a .json file.
 * @param options.column field with the text
 * @param options.encoding Default UTF-8
 * @throws DataError if the file is not valid JSON, or the field of a row is missing or is not a string
 */
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

/**
 * Rows of JSON lines: one object per line.
 * @throws DataError as `jsonRows` does
 */
export async function* jsonLineRows(path: string, { column, ...options }: JsonRowsOptions): AsyncGenerator<Rows> {
  let line = 0;
  for await (const { lines, fraction } of linesOf(textOf(path, options))) {
    const values = lines.map((text): LocatedJson => ({ text, line: ++line }));
    yield { texts: jsonTexts(values, { path, column }), fraction };
  }
}

/**
 * Whether a file has one object per line, judged by its first line that is not empty. If that line is longer than a
 * part, its first character decides.
 */
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

/** The JSON of a row. */
interface LocatedJson {
  text: string;
  /** line of the file at which it begins, from 1 */
  line: number;
}

/** Parses rows and returns the texts of a column. Rows whose text is null, and empty lines, are skipped. */
function jsonTexts(values: readonly LocatedJson[], { path, column }: { path: string; column: string }): string[] {
  return values.flatMap(({ text, line }) => {
    const json = line === 1 ? withoutMark(text) : text;
    if (json.trim() === "") return [];
    const field = fieldOf(json, { path, line, column });
    return field === null ? [] : [field];
  });
}

/** Removes a byte order mark. */
function withoutMark(text: string): string {
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
    throw new DataError(path, `line ${line} has no ${named}; available: ${listed(Object.keys(row))}`);
  }
  const value = row[column];
  if (value === null) return null;
  if (typeof value !== "string") throw new DataError(path, `line ${line}: ${named} holds a ${typeof value}, not text`);
  if (value.isWellFormed()) return value;
  const problem = `${named} contains half of a surrogate pair, such as a lone \\ud83d, which is not a character`;
  throw new DataError(path, `line ${line}: ${problem}; correct or remove the row`);
}

function parseRow(json: string, { path, line }: Place): Record<string, unknown> {
  let row: unknown;
  try {
    row = parseJson(json);
  } catch (error) {
    throw new DataError(path, `line ${line} is not valid JSON: ${why(error)}; expected one object per line`, {
      cause: error,
    });
  }
  if (typeof row === "object" && row !== null && !Array.isArray(row)) return row as Record<string, unknown>;
  throw new DataError(path, `line ${line} is not an object; expected one object per line`);
}

/** Position outside of objects: before the first one, in an array, in a sequence of objects, or after the array. */
type Level = "start" | "array" | "objects" | "end";

/**
 * Splits JSON text that comes in parts into objects: the elements of one array, or a sequence of objects. Looks at
 * brackets and strings only; the objects are parsed later.
 */
class JsonValues {
  readonly #path: string;
  /** beginning of an object that continues in the next part */
  #held = "";
  /** number of open brackets, from the one that begins the object */
  #depth = 0;
  #inString = false;
  #isEscaped = false;
  #level: Level = "start";
  /** whether an element of the array may begin here: after `[` or a comma */
  #isSeparated = true;
  #line = 1;
  #firstLine = 1;

  constructor(path: string) {
    this.#path = path;
  }

  /** Returns the objects that end in this part. @throws DataError if there is anything else between objects */
  push(part: string): LocatedJson[] {
    const found: LocatedJson[] = [];
    const text = this.#held + part;
    let begin = 0;
    for (let i = this.#held.length; i < text.length; i++) {
      const character = text[i] as string;
      if (character === "\n") this.#line++;
      if (this.#depth === 0) {
        if (this.#begins(character)) [begin, this.#firstLine] = [i, this.#line];
      } else if (this.#inString) this.#string(character);
      else if (character === '"') this.#inString = true;
      else if (character === "{" || character === "[") this.#depth++;
      else if ((character === "}" || character === "]") && --this.#depth === 0) {
        found.push({ text: text.slice(begin, i + 1), line: this.#firstLine });
      }
    }
    this.#held = this.#depth > 0 ? text.slice(begin) : "";
    return found;
  }

  /** Checks the end of the file. @throws DataError if an object or the array is incomplete */
  end(): void {
    const from = this.#depth > 0 ? `the object that begins at line ${this.#firstLine}` : "its array";
    if (this.#depth > 0 || this.#level === "array") {
      throw new DataError(this.#path, `ends inside ${from}; fetch it again`);
    }
  }

  #string(character: string): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (character === "\\") this.#isEscaped = true;
    else if (character === '"') this.#inString = false;
  }

  /** Whether a character outside of objects begins one. */
  #begins(character: string): boolean {
    if (/[\s\uFEFF]/.test(character)) return false;
    const { [character]: next } = NEXT[this.#level];
    if (!next || (this.#level === "array" && (character === "{") !== this.#isSeparated && character !== "]")) {
      throw new DataError(
        this.#path,
        `line ${this.#line}: ${JSON.stringify(character)} is where ${WANTED[this.#level]}`,
      );
    }
    if (this.#level === "array") this.#isSeparated = character === ",";
    this.#level = next;
    if (character !== "{") return false;
    this.#depth = 1;
    return true;
  }
}

/** Characters allowed at each position, and the position after them. */
const NEXT: Readonly<Record<Level, Readonly<Record<string, Level>>>> = {
  start: { "[": "array", "{": "objects" },
  array: { "{": "array", ",": "array", "]": "end" },
  objects: { "{": "objects" },
  end: {},
};

/** What is expected at each position, as the end of an error message. */
const WANTED: Readonly<Record<Level, string>> = {
  start: "an object or an array of objects should begin",
  array: "an object of the array should begin or end",
  objects: "an object should begin",
  end: "the file should end, after its array",
};
