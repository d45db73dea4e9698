// The section of a card about a model that was exported to another number type.

import { expect, test } from "bun:test";
import { type CardFacts, modelCard, type StorageFacts } from "../../../hub/card/index.ts";

const cardWith = (storage?: StorageFacts, facts: Partial<CardFacts> = {}): string =>
  modelCard({ title: "small", task: "text-generation", structure: "gblr", storage, ...facts });

const bytes = { before: 400_000, after: 110_000 };

test("a card without a change of the type has no such section", () => {
  expect(cardWith()).not.toContain("## Stored numbers");
});

test("a card has the bytes before and after, and says which layers were not rounded", () => {
  const card = cardWith({ dtype: "int8", bytes });
  expect(card).toContain("stored as 8-bit integers with a scale for each 32 values");
  expect(card).toContain("| before the export | 400 kB |\n| this one | 110 kB |");
  expect(card).not.toContain("would not stand rounding");
  expect(cardWith({ dtype: "int8", bytes, exact: 1 })).toContain("1 layer would not stand rounding and is in float32.");
  expect(cardWith({ dtype: "bfloat16", bytes, exact: 2 })).toContain("stored as `bfloat16`");
  expect(cardWith({ dtype: "bfloat16", bytes, exact: 2 })).toContain("2 layers would not stand rounding and are in");
});

test("a card has what was measured of both models", () => {
  const measured = { metric: "top1", on: "photos | mine, test", before: 0.75, after: 0.7425 };
  const card = cardWith({ dtype: "float16", bytes, measured });
  expect(card).toContain("Measured on photos \\| mine, test.");
  expect(card).toContain("| this one | 110 kB | 74.25 % |");
});

test("a dense model that was exported is not called trained without compression", () => {
  expect(cardWith({ dtype: "int8", bytes }, { structure: "dense" })).not.toContain("without compression");
});
