// JSON as Python's json module writes it, against values that are stated, and against JSON.parse where that reads too.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { parseJson } from "../../../hub/text/json.ts";

test("NaN, Infinity and -Infinity are numbers, but not in texts and keys", () => {
  expect(parseJson('{"text":"a","score":NaN}')).toEqual({ text: "a", score: Number.NaN });
  expect(parseJson('[NaN, Infinity,-Infinity, {"NaN":"Infinity \\" NaN"}]')).toEqual([
    ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, { NaN: 'Infinity " NaN' }],
  ]);
  expect(parseJson("NaN")).toBeNaN();
  expect(Object.entries(parseJson('{"__proto__":NaN}') as object)).toEqual([["__proto__", Number.NaN]]);
});

test.each(["", "nan", "-NaN", "+Infinity", "NaN1", "[NaN", "[NaN NaN]", '{"a":Infinity,}', "'NaN'", '"\nNaN"'])(
  "%j is no JSON to Python either",
  (text) => {
    expect(() => parseJson(text)).toThrow(SyntaxError);
  },
);

test("a text of quotes alone is refused at once", () => {
  // Looking for the end of a string from each of them would take hours.
  expect(() => parseJson(`{${'\\"'.repeat(2_000_000)}`)).toThrow(SyntaxError);
});

test("all other JSON is what it is to JSON.parse", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(parseJson(text)).toEqual(JSON.parse(text));
      expect(parseJson(`[${text}, NaN]`)).toEqual([JSON.parse(text), Number.NaN]);
    }),
  );
});
