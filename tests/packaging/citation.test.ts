// CITATION.cff follows the Citation File Format 1.2.0: its keys, types and patterns for what the file uses, as in
// https://github.com/citation-file-format/citation-file-format/blob/1.2.0/schema.json.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { z } from "zod";

const read = (name: string) => readFileSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), "utf8");

const text = z.string().min(1);
const entity = z.strictObject({ name: text });
const person = z.strictObject({ "given-names": text, "family-names": text });
const identifier = z.strictObject({
  type: z.enum(["doi", "url", "swh", "other"]),
  value: text,
  description: text.optional(),
});
const reference = z.strictObject({
  type: z.enum(["article", "book", "conference", "conference-paper", "generic", "proceedings", "report", "software"]),
  title: text,
  authors: z.array(z.union([person, entity])).min(1),
  year: z.int().positive(),
  "collection-title": text,
  conference: entity,
  identifiers: z.array(identifier).min(1),
  url: z.url(),
});
const file = z.strictObject({
  "cff-version": z.literal("1.2.0"),
  message: text,
  title: text,
  type: z.enum(["software", "dataset"]),
  abstract: text,
  authors: z.array(z.union([person, entity])).min(1),
  version: text,
  license: text,
  keywords: z.array(text).min(1),
  "preferred-citation": reference,
});

test("the citation file has the form that the format requires", () => {
  expect(() => file.parse(parse(read("CITATION.cff")))).not.toThrow();
});

test("its version, license and author are those of the package", () => {
  const { version, license, authors } = file.parse(parse(read("CITATION.cff")));
  const own = JSON.parse(read("package.json")) as { version: string; license: string; author: string };
  expect({ version, license, authors }).toEqual({
    version: own.version,
    license: own.license,
    authors: [{ name: own.author }],
  });
});

test("it cites the paper that the README links to", () => {
  const { url, identifiers } = file.parse(parse(read("CITATION.cff")))["preferred-citation"];
  expect(read("README.md")).toContain(url);
  expect(url).toEndWith(identifiers[0]?.value.replace("arXiv:", "/") ?? "");
});
