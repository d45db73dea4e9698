// Files with a row a line: plain text, where the line is the row and keeps its line end, and JSON lines, where a field of
// the line's object is. A name that ends in .gz is unpacked on the way.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { DataError, listed, why } from "../errors.ts";
import type { Rows } from "./rows.ts";

const CHUNK_BYTES = 2 ** 20;

/** @param options.column field of the objects; nothing for plain text */
export async function* lineRows(path: string, { column }: { column: string | undefined }): AsyncGenerator<Rows> {
  let number = 0;
  for await (const { lines, fraction } of linesOf(path)) {
    const texts: string[] = [];
    for (const line of lines) {
      number++;
      if (column === undefined) texts.push(line);
      else {
        const text = fieldOf(line, { path, number, column });
        if (text !== null) texts.push(text);
      }
    }
    yield { texts, fraction };
  }
}

/** Lines with their ends; the last one may have none. */
async function* linesOf(path: string): AsyncGenerator<{ lines: string[]; fraction: number }> {
  let rest: string[] = [];
  for await (const { text, fraction } of textOf(path)) {
    const last = text.lastIndexOf("\n") + 1;
    if (last === 0) {
      // A line longer than a chunk is joined once, when its end is there.
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

async function* textOf(path: string): AsyncGenerator<{ text: string; fraction: number }> {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  try {
    const { size } = await stat(path);
    const file = createReadStream(path, { highWaterMark: CHUNK_BYTES });
    // The pipeline hands each one's failure to the other; the loop below throws it.
    const bytes = /\.gz$/i.test(path) ? pipeline(file, createGunzip(), () => {}) : file;
    for await (const chunk of bytes) {
      yield {
        text: decoder.decode(chunk as Uint8Array, { stream: true }),
        fraction: file.bytesRead / Math.max(1, size),
      };
    }
  } catch (error) {
    throw new DataError(path, `cannot be read: ${why(error)}`, { cause: error });
  }
  yield { text: decoder.decode(), fraction: 1 };
}

/** Null where the row is empty or the field is null. */
function fieldOf(
  line: string,
  { path, number, column }: { path: string; number: number; column: string },
): string | null {
  const json = number === 1 ? line.replace(/^\uFEFF/, "") : line;
  if (json.trim() === "") return null;
  const row = parseLine(json, { path, number });
  const value = row[column];
  if (typeof value === "string" || value === null) return value;
  if (value === undefined) {
    throw new DataError(
      path,
      `line ${number} has no column ${JSON.stringify(column)}; there is ${listed(Object.keys(row))}`,
    );
  }
  throw new DataError(path, `line ${number}: column ${JSON.stringify(column)} holds a ${typeof value}, not text`);
}

function parseLine(json: string, { path, number }: { path: string; number: number }): Record<string, unknown> {
  let row: unknown;
  try {
    row = JSON.parse(json);
  } catch (error) {
    throw new DataError(path, `line ${number} is no JSON: ${why(error)}; a file has one object a line`, {
      cause: error,
    });
  }
  if (typeof row === "object" && row !== null && !Array.isArray(row)) return row as Record<string, unknown>;
  throw new DataError(path, `line ${number} is no object; a file has one object a line`);
}
