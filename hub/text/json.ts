// JSON as Python writes it: its json module has NaN, Infinity and -Infinity for numbers that JSON has no form for.

import { z } from "zod";

/** A string that does not end is taken to the end of the text: looked for from every later quote, it would take hours. */
const STRINGS_AND_NUMBERS = /"(?:[^"\\]|\\.)*"?|\bNaN\b|-?\bInfinity\b/g;

/** @throws SyntaxError, JSON.parse's own, when the text is JSON in neither way */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const value = parsePythons(text);
    if (value === undefined) throw error;
    return value;
  }
}

/** Such numbers are strings that nobody else has until they are parsed. */
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

/** As `parseJson`, but undefined for what is no JSON, or is nested too deep for the stack. */
export function jsonOrUndefined(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** As a Map, which has no names of its own as an object has. */
export const mapOf = <Value extends z.ZodType, Key extends z.ZodType<string> = z.ZodString>(
  value: Value,
  key: Key = z.string() as unknown as Key,
) => z.preprocess(entriesOf, z.map(key, value));

/** As an object that has all of them; look up with Object.hasOwn. */
export const recordOf = <Value extends z.ZodType>(value: Value) =>
  mapOf(value).transform((entries) => Object.fromEntries(entries) as Record<string, z.output<Value>>);

const entriesOf = (json: unknown): unknown =>
  typeof json === "object" && json !== null && !Array.isArray(json) ? new Map(Object.entries(json)) : json;

/** What is wrong with a version, as a clause after the field's name. */
export function versionProblem(known: number, is: unknown): string {
  const isNewer = typeof is === "number" && is > known;
  const shown = is === undefined ? "missing" : JSON.stringify(is)?.slice(0, 80);
  return `must be ${known}, is ${shown}${isNewer ? "; a newer version of gblr wrote it: update gblr" : ""}`;
}

/** Just this version; the message says which it is instead. */
export const formatVersion = <Version extends number>(known: Version) =>
  z.literal(known, { error: ({ input }) => versionProblem(known, input) });
