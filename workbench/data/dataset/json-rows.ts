// Cuts a JSON text that comes in parts into the objects that are its rows: the elements of one array, or objects one after
// the other. Looks at brackets and strings alone; what is between them its parser checks.

import { parseJson } from "../../../hub/text/json.ts";
import { DataError, listed, why } from "../errors.ts";
import type { Rows } from "./rows.ts";
import { jsonLineRows } from "./rows.ts";
import { textOf } from "./text-file.ts";

/** Before the text, between the elements of an array, between objects without an array, and behind an array's end. */
type Level = "start" | "array" | "objects" | "end";

export class JsonValues {
  readonly #path: string;
  /** of an object that goes on in the next part, from its first character */
  #held = "";
  #depth = 0;
  #inString = false;
  #isEscaped = false;
  #level: Level = "start";
  /** whether an element of the array may begin here */
  #isSeparated = true;
  #line = 1;
  #firstLine = 1;

  constructor(path: string) {
    this.#path = path;
  }

  /** Objects that end in this part. @throws DataError at what is no row */
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

  /** @throws DataError when something is not ended */
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

  /** Whether a row begins. */
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

/** What may come on each level, and the level then. */
const NEXT: Readonly<Record<Level, Readonly<Record<string, Level>>>> = {
  start: { "[": "array", "{": "objects" },
  array: { "{": "array", ",": "array", "]": "end" },
  objects: { "{": "objects" },
  end: {},
};

const WANTED: Readonly<Record<Level, string>> = {
  start: "an object or an array of objects should begin",
  array: "an object of the array should begin or end",
  objects: "an object should begin",
  end: "the file should end, after its array",
};

// What of a JSON row is its text: one field of an object.

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

// Rows out of JSON: each an object of which one field is the text. A file of the ending .json has one object a line, or
// is one array of objects, or has objects over several lines, one after the other; all of them are read as they come.

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
