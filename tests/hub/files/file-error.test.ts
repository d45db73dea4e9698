// Text out of files in messages: on one line, and no command to a terminal.

import { expect, test } from "bun:test";
import { quote } from "../../../hub/files/file-error.ts";
import { parseGblrConfig } from "../../../hub/model-folder/gblr-config.ts";

test.each([
  ["a\nb", '"a\\nb"'],
  ["a\u2028b\u2029", '"a\\u2028b\\u2029"'],
  ["\u001b[31m\u009b31m\u007f\u0085", '"\\u001b[31m\\u009b31m\\u007f\\u0085"'],
  ['ñ 日本 "x" \\', '"ñ 日本 \\"x\\" \\\\"'],
])("%j is quoted as %s", (text, quoted) => {
  expect(quote(text)).toBe(quoted);
  expect(JSON.parse(quoted)).toBe(text);
});

test("a model_type of two lines is told on one", () => {
  expect(() => parseGblrConfig(JSON.stringify({ model_type: "gblr_a\nb" }), "f")).toThrow(
    'f: "gblr" is missing, model_type is "gblr_a\\nb"',
  );
});
