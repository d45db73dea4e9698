// Files with a row a line: plain text, where the line is the row and keeps its line end, and JSON lines.

import { jsonTexts, type LocatedJson } from "./json-texts.ts";
import type { Rows } from "./rows.ts";
import { type TextPart, textOf } from "./text-file.ts";

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
