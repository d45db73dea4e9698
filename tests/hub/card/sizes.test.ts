// The section of a card about the sizes of a model: the command that cuts it, and what was measured.

import { expect, test } from "bun:test";
import { type CardFacts, modelCard, type SizesFacts } from "../../../hub/card/index.ts";

const cardWith = (sizes?: SizesFacts, facts: Partial<CardFacts> = {}): string =>
  modelCard({ title: "small", task: "text-generation", structure: "gblr", sizes, ...facts });

const measured = {
  metric: "perplexity",
  on: "wikitext | mini, test",
  dense: 24.1,
  points: [
    { keep: 0.2, value: 163.8 },
    { keep: 0.8, value: 30.4 },
  ],
};

test("a card without sizes has no such section", () => {
  expect(cardWith()).not.toContain("## Sizes");
});

test("a card with sizes says their range and how to cut the model, in a folder or on the Hub", () => {
  const sizes = { range: [0.2, 0.8] } as const;
  expect(cardWith(sizes)).toContain("all sizes from 20.0 % to 80.0 %");
  expect(cardWith(sizes)).toContain("gblr export . --keep 0.8 --out cut");
  expect(cardWith(sizes)).not.toContain("sizes.png");
  expect(cardWith(sizes, { repository: "me/small" })).toContain("gblr export me/small --keep 0.8 --out cut");
});

test("a card shows what was measured at each size, beside the dense model, and the picture of it", () => {
  const card = cardWith({ range: [0.2, 0.8], measured });
  expect(card).toContain("Perplexity on wikitext \\| mini, test");
  expect(card).toContain("| 20.0 % | 163.80 |\n| 80.0 % | 30.40 |\n| dense | 24.10 |");
  expect(card).toContain("![perplexity by size](sizes.png)");
});
