// Cuts a JSON text that comes in parts into the objects that are its rows: the elements of one array, or objects one after
// the other. Looks at brackets and strings alone; what is between them its parser checks.

import { DataError } from "../errors.ts";
import type { LocatedJson } from "./json-texts.ts";

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
