// YAML as it is written, read back by version 1.1, by version 1.2, and by PyYAML where a Python has it.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parse } from "yaml";
import { cardMetadata, parseCardMetadata } from "../../../hub/card/metadata.ts";
import { yamlOf } from "../../../hub/card/yaml.ts";
import { askPython, PATIENCE, pythonWith } from "../../python/python.ts";

const python = pythonWith("yaml");
if (!python) console.log("no Python has yaml: PyYAML is not asked what it reads");
const readByPython = (text: string) => askPython(python as string, "yaml_values.py", [], {}, text);

/** Every text that some version takes for something else, or that YAML gives a meaning. */
const TEXTS = [
  ..."no No NO yes on On off OFF y n Y N true True false null Null ~ = <<".split(" "),
  ..."12:30:45 1:30 1:30.5 190:20:30.15 2020-01-01 2001-12-14t21:59:43.10-05:00 2020-01-01T00:00:00Z".split(" "),
  ..."1e3 1E3 1e+3 1.5e3 1_000 1_0.5 0x10 0b11 0o17 010 0 -0 +1 .5 5. 1.0 0.1.0 .inf -.Inf +.INF .nan .NaN".split(" "),
  ..."- -- --- ... ? : :a a: [a] {a} !a &a *a |a >a %a @a `a #a a#b , ' \"".split(" "),
  ...["", " ", " a", "a ", "a: b", "a #b", "- a", "? a", "--- a", "a\n---\nb", "a\nb", "a\tb", "\\n", "'a'", '"a"'],
  ...[
    "\0",
    "\x07",
    "\x1b",
    "\x7f",
    "\x85",
    "\x9f",
    "\xa0",
    "\u2028",
    "\u2029",
    "\ufeffa",
    "\ufffe",
    "é",
    "😀",
    "日本語",
  ],
  ...["Text Generation", "cc-by-nc-4.0", "owner/name", "en", "a_b", "C++", "__proto__", "constructor"],
];

const NUMBERS = [0, 1, -1, 0.1, 19.24, 1e-7, -2.5e-9, 1e21, 1.5e300, 123456789012345680000, 5e-324];

function expectSame(value: unknown, text = yamlOf(value)): void {
  expect(parse(text, { version: "1.1" })).toEqual(value);
  expect(parse(text, { version: "1.2" })).toEqual(value);
  if (python) expect(readByPython(text)).toEqual(value as never);
}

describe("YAML that is written is read the same by version 1.1, version 1.2 and PyYAML", () => {
  test(
    "texts, as values and as keys",
    () => {
      expectSame({ texts: TEXTS, ...Object.fromEntries(TEXTS.map((text) => [text, text])) });
    },
    PATIENCE,
  );

  test(
    "numbers, with numbers' types",
    () => {
      expectSame({ numbers: NUMBERS, yes: true, no: false, nothing: null, nested: [{ a: [{ b: 1 }] }] });
      expect(yamlOf([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])).toBe(
        "- .nan\n- .inf\n- -.inf\n",
      );
    },
    PATIENCE,
  );

  test(
    "whatever they are",
    () => {
      const many: string[] = [];
      const anyText = fc.oneof(
        fc.string({ unit: "binary", maxLength: 8 }),
        fc.stringMatching(/^[-+.0-9eExXoObB_:~tTnNyYfF]{1,8}$/),
        fc.string({ unit: "grapheme", maxLength: 8 }),
      );
      fc.assert(
        fc.property(anyText, (text) => {
          many.push(text.toWellFormed());
          expect(parse(yamlOf({ text }), { version: "1.1" })).toEqual({ text: text.toWellFormed() });
          expect(parse(yamlOf({ text }), { version: "1.2" })).toEqual({ text: text.toWellFormed() });
        }),
        { numRuns: 1000 },
      );
      if (python) expect(readByPython(yamlOf(many))).toEqual(many as never);
    },
    PATIENCE,
  );
});

test("what a base card says of Norwegian, of times and of numbers is carried on as it was meant", () => {
  const readme = `---
language: ['no', nn]
license: cc0-1.0
tags: ['on', 'y', '12:30:45', '1e3', '0x10', '~']
---
`;
  const base = parseCardMetadata(readme);
  const facts = { title: "m", task: "text-generation", structure: "gblr", base };
  const block = cardMetadata(facts as never).replace(/^---\n|---\n$/g, "");
  const fields = parse(block, { version: "1.2" }) as { language: string[]; tags: string[] };
  expect(fields.language).toEqual(["no", "nn"]);
  expect(fields.tags).toEqual(["gblr", "model-compression", "on", "y", "12:30:45", "1e3", "0x10", "~"]);
  expectSame(fields, block);
});

test("plain words stay without quotes", () => {
  expect(yamlOf({ license: "cc0-1.0", base_model: "owner/name", name: "Text Generation", value: 19.24 })).toBe(
    "license: cc0-1.0\nbase_model: owner/name\nname: Text Generation\nvalue: 19.24\n",
  );
  expect(yamlOf({ language: ["no", "nn"] })).toBe('language:\n  - "no"\n  - nn\n');
});
