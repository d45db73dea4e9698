// JSON as Python writes it: its json module has NaN, Infinity and -Infinity for numbers that JSON has no form for.

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
