// Writes YAML that readers of version 1.1, such as Python's, and of version 1.2 read the same. Unquoted `no` is false to
// the one, `1e3` a number to the other: what is not plainly a text to both stands in quotes.

import { type ScalarTag, stringify } from "yaml";

/** Begins with a letter, and has nothing that YAML gives a meaning. */
const PLAIN = /^\p{L}[\p{L}\p{N}_./+-]*( [\p{L}\p{N}_./+-]+)*$/u;

/** An exponent alone, such as `e0`, which some readers of version 1.1 take for a number. */
const EXPONENT = /^e[-+]?[\d_]+$/i;

/** Words of version 1.1 for true, false and null, in any case. */
const WORDS = new Set(["y", "yes", "n", "no", "on", "off", "true", "false", "null"]);

/** Of double quotes: what JSON leaves as it is and PyYAML refuses, or takes for the end of a line. */
const UNPRINTABLE = /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g;

const TEXT: ScalarTag = {
  tag: "tag:yaml.org,2002:str",
  default: true,
  identify: (value) => typeof value === "string",
  resolve: (text) => text,
  stringify: ({ value }) => textOf(String(value)),
};

const NUMBER: ScalarTag = {
  tag: "tag:yaml.org,2002:float",
  default: true,
  identify: (value) => typeof value === "number",
  // The library prefers tags that have one; nothing is read here.
  test: /./,
  resolve: Number,
  stringify: ({ value }) => numberOf(value as number),
};

/** Block style, a line end at the end. @param value of objects, lists, texts, numbers, true, false and null */
export function yamlOf(value: unknown): string {
  return stringify(value, { customTags: (tags) => [TEXT, NUMBER, ...tags], lineWidth: 0 });
}

function textOf(text: string): string {
  if (PLAIN.test(text) && !WORDS.has(text.toLowerCase()) && !EXPONENT.test(text)) return text;
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text.toWellFormed()).replace(UNPRINTABLE, escaped);
}

/** Version 1.1 takes an exponent for one behind a point only, and with its sign. */
function numberOf(value: number): string {
  if (Number.isNaN(value)) return ".nan";
  if (!Number.isFinite(value)) return value < 0 ? "-.inf" : ".inf";
  return String(value).replace(/^(-?\d+)e/, "$1.0e");
}
