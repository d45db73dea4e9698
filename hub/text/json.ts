// Reads JSON. Python's json module writes the numbers NaN, Infinity and -Infinity, which JSON does not have; they are
// accepted. The second part has zod schemas that JSON documents share: maps with arbitrary keys, and format versions
// (docs/format.md states what a version promises).

import { z } from "zod";

/**
 * Matches strings and numbers of Python. An unclosed string matches to the end of the text. Otherwise every later quote
 * would start another search, and the time would be quadratic.
 */
const STRINGS_AND_NUMBERS = /"(?:[^"\\]|\\.)*"?|\bNaN\b|-?\bInfinity\b/g;

/**
 * Parses JSON, including Python's NaN and Infinity.
 * @throws SyntaxError from JSON.parse when the text is invalid even with these numbers
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const value = parsePythons(text);
    if (value === undefined) throw error;
    return value;
  }
}

/** Replaces NaN and Infinity by strings with a random prefix, parses, and turns those strings into numbers. */
function parsePythons(text: string): unknown {
  const mark = `${crypto.randomUUID()}:`;
  let found = false;
  const marked = text.replace(STRINGS_AND_NUMBERS, (part) => {
    if (part.startsWith('"')) return part;
    found = true;
    return `"${mark}${part}"`;
  });
  if (!found) return undefined;
  try {
    return JSON.parse(marked, (_, value: unknown) =>
      typeof value === "string" && value.startsWith(mark) ? Number(value.slice(mark.length)) : value,
    );
  } catch {
    return undefined;
  }
}

/** Like `parseJson`, but returns undefined when the text is not JSON or is nested too deeply for the stack. */
export function jsonOrUndefined(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

/** Whether a JSON value is an object, not an array or null. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Schema of a JSON object with arbitrary keys, as a Map. zod's own record type drops a key named `__proto__`. */
export const mapOf = <Value extends z.ZodType, Key extends z.ZodType<string> = z.ZodString>(
  value: Value,
  key: Key = z.string() as unknown as Key,
) => z.preprocess(entriesOf, z.map(key, value));

/** Like `mapOf`, but as a plain object. Look keys up with Object.hasOwn. */
export const recordOf = <Value extends z.ZodType>(value: Value) =>
  mapOf(value).transform((entries) => Object.fromEntries(entries) as Record<string, z.output<Value>>);

const entriesOf = (json: unknown): unknown =>
  typeof json === "object" && json !== null && !Array.isArray(json) ? new Map(Object.entries(json)) : json;

/** Describes what is wrong with a format version, as a clause that follows the field's name. */
export function versionProblem(known: number | readonly number[], is: unknown): string {
  const versions = [known].flat();
  const isNewer = typeof is === "number" && is > Math.max(...versions);
  const shown = is === undefined ? "missing" : JSON.stringify(is)?.slice(0, 80);
  const listed = [versions.slice(0, -1).join(", "), versions.at(-1)].filter((each) => each !== "").join(" or ");
  return `must be ${listed}, is ${shown}${isNewer ? "; a newer version of gblr wrote it: update gblr" : ""}`;
}

/** Schema that accepts one format version. Its message states the version that was found. */
export const formatVersion = <Version extends number>(known: Version) =>
  z.literal(known, { error: ({ input }) => versionProblem(known, input) });
