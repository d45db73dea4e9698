// What PyYAML's safe_load, a reader of YAML 1.1, makes of what is written.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { cardMetadata, yamlOf } from "../../hub/card/metadata.ts";
import { anyText, NUMBERS, TEXTS } from "../hub/card/yaml-values.ts";
import { askPython, PATIENCE, pythonWith } from "./python.ts";

const python = pythonWith("yaml");

describe.skipIf(!python)("PyYAML reads what was written", () => {
  const read = (text: string) => askPython<unknown>(python, "yaml_values.py", { input: text });

  test(
    "of texts, as values and as keys",
    async () => {
      const value = { texts: TEXTS, ...Object.fromEntries(TEXTS.map((text) => [text, text])) };
      expect(await read(yamlOf(value))).toEqual(value);
      const many = fc.sample(anyText, 2000).map((text) => text.toWellFormed());
      expect(await read(yamlOf(many))).toEqual(many);
    },
    PATIENCE,
  );

  test(
    "of numbers, with numbers' types",
    async () => {
      const value = { numbers: NUMBERS, yes: true, no: false, nothing: null, nested: [{ a: [{ b: 1 }] }] };
      expect(await read(yamlOf(value))).toEqual(value);
      const infinite = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
      expect(await read(yamlOf(infinite))).toEqual(["nan", "inf", "-inf"]);
    },
    PATIENCE,
  );

  test(
    "of a card",
    async () => {
      const tags = ["on", "y", "12:30:45", "1e3", "0x10", "~"];
      const base = { license: "cc0-1.0", language: ["no", "nn"], tags };
      const facts = { title: "m", task: "text-generation", structure: "gblr", base };
      expect(await read(cardMetadata(facts as never).replace(/^---\n|---\n$/g, ""))).toMatchObject({
        language: ["no", "nn"],
        tags: ["gblr", "model-compression", ...tags],
      });
    },
    PATIENCE,
  );
});
