// Reads files that a folder may lack: their bytes, their text and their JSON, with errors that name the file.

import { readFile } from "node:fs/promises";
import { parseJson } from "../../hub/text/json.ts";
import { textOfFile } from "../../hub/text/utf8.ts";
import { DataError, why } from "./errors.ts";

/** Reads a file. @returns undefined if there is none @throws DataError if it cannot be read */
export async function readIfThere(file: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") return undefined;
    throw new DataError(file, `cannot be read: ${why(error)}`, { cause: error });
  }
}

/** Decodes the content of a file. @throws DataError if it is not UTF-8 */
export function textOf(file: string, bytes: Uint8Array): string {
  return textOfFile(bytes, (problem, options) => new DataError(file, problem, options));
}

/** Parses the content of a file. @throws DataError if it is not JSON */
export function jsonOf(file: string, bytes: Uint8Array): unknown {
  const text = textOf(file, bytes);
  try {
    return parseJson(text);
  } catch (error) {
    throw new DataError(file, `is not valid JSON (${why(error)}); fetch it again`, { cause: error });
  }
}
