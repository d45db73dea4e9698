// YAML as it is written, read back by version 1.1, by version 1.2; tests/python/yaml.test.ts asks PyYAML.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parse } from "yaml";
import { cardMetadata, parseCardMetadata, yamlOf } from "../../../hub/card/metadata.ts";
import { anyText, NUMBERS, TEXTS } from "./yaml-values.ts";

function expectSame(value: unknown, text = yamlOf(value)): void {
  expect(parse(text, { version: "1.1" })).toEqual(value);
  expect(parse(text, { version: "1.2" })).toEqual(value);
}

describe("YAML that is written is read the same by versions 1.1 and 1.2", () => {
  test("texts, as values and as keys", () => {
    expectSame({ texts: TEXTS, ...Object.fromEntries(TEXTS.map((text) => [text, text])) });
  });

  test("numbers, with numbers' types", () => {
    expectSame({ numbers: NUMBERS, yes: true, no: false, nothing: null, nested: [{ a: [{ b: 1 }] }] });
    expect(yamlOf([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])).toBe("- .nan\n- .inf\n- -.inf\n");
  });

  test("whatever they are", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(parse(yamlOf({ text }), { version: "1.1" })).toEqual({ text: text.toWellFormed() });
        expect(parse(yamlOf({ text }), { version: "1.2" })).toEqual({ text: text.toWellFormed() });
      }),
      { numRuns: 1000 },
    );
  });
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
