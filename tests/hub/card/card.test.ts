// Model cards: front matter as the Hub reads it, tables and code that no name can break, nothing where a fact is
// missing. The YAML is read back by another way than it was written where that matters.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { parse } from "yaml";
import {
  type BaseMetadata,
  type CardFacts,
  type CardRow,
  frontMatter,
  modelCard,
  parseCardMetadata,
} from "../../../hub/card/index.ts";

const row = (name: string, perplexity: number): CardRow => ({
  name,
  structure: name,
  stage: name === "dense" ? "before" : "after",
  metrics: { perplexity },
  relativeFlops: name === "dense" ? { reference: 1, actual: 1 } : { reference: 0.4375, actual: 0.468 },
  parameters: 7_654_321,
  fileBytes: 30_600_000,
});

const FACTS: CardFacts = {
  title: "gpt2-mini at 43.75 %",
  repository: "me/gpt2-mini-gblr",
  task: "text-generation",
  structure: "gblr",
  baseModel: "gblr/gpt2-mini",
  baseRevision: "0123abc",
  base: { license: "cc-by-sa-3.0", language: ["en"], tags: ["text"], datasets: ["gblr/wikitext-mini", "a/b"] },
  dataset: { id: "gblr/wikitext-mini", config: "wikitext-mini-v1", revision: "feed" },
  metrics: [
    { type: "perplexity", value: 902.06, split: "test" },
    { type: "nll", value: 6.8047, split: "test" },
    { type: "perplexity", value: 899.1, split: "validation" },
  ],
  comparison: [row("dense", 890.61), row("lowrank", 969.2), row("gblr", 902.06)],
  relativeFlops: { reference: 0.4375, actual: 0.468 },
  context: 256,
  hasPicture: true,
  hasPython: true,
  hasTrainable: true,
  command: "bun run recipes/gpt2-wt103.ts --budget 0.4375",
  versions: { gblr: "0.1.0", libtorch: "2.9.0" },
  engine: "torch",
  device: "cuda",
  precision: "bfloat16",
  seed: 1111,
  settings: { epochs: 10, "learning-rate": 1.5e-3, limit: undefined },
};

// The Hub's own expression for the block of metadata.
const HUB_BLOCK = /^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$))/;
const PLACEHOLDER = /\bundefined\b|\bNaN\b|\bTODO\b|\[object|More Information Needed|\bnull\b|Infinity/;

test("the front matter says what the Hub asks for", () => {
  const card = modelCard(FACTS);
  const [, , block] = card.match(HUB_BLOCK) as RegExpMatchArray;
  const dataset = {
    type: "gblr/wikitext-mini",
    name: "gblr/wikitext-mini",
    config: "wikitext-mini-v1",
    revision: "feed",
  };
  const task = { type: "text-generation", name: "Text Generation" };
  expect(parse(block as string)).toEqual({
    license: "cc-by-sa-3.0",
    language: ["en"],
    library_name: "transformers",
    pipeline_tag: "text-generation",
    base_model: "gblr/gpt2-mini",
    datasets: ["gblr/wikitext-mini", "a/b"],
    tags: ["gblr", "model-compression", "text"],
    "model-index": [
      {
        name: "gpt2-mini at 43.75 %",
        results: [
          {
            task,
            dataset: { ...dataset, split: "test" },
            metrics: [
              { type: "perplexity", name: "Perplexity", value: 902.06 },
              { type: "nll", name: "NLL, nats", value: 6.8047 },
            ],
          },
          {
            task,
            dataset: { ...dataset, split: "validation" },
            metrics: [{ type: "perplexity", name: "Perplexity", value: 899.1 }],
          },
        ],
      },
    ],
  });
  expect(frontMatter(card)).toEqual(parse(block as string));
});

test("the text has the table, the picture, the ways to load, the command, the versions, the seed and the paper", () => {
  const card = modelCard(FACTS);
  expect(card).toContain("| dense | – | 890.61 | 100.00 % | 100.00 % | 7.65 M | 30.6 MB |");
  expect(card).toContain("| gblr | after | **902.06** | 43.75 % | 46.80 % | 7.65 M | 30.6 MB |");
  expect(card).toContain("](structure.png)");
  expect(card).toContain(
    "gblr eval ppl me/gpt2-mini-gblr --dataset gblr/wikitext-mini --config wikitext-mini-v1 --split test --context 256\n",
  );
  expect(card).toContain("```sh\nnpm install\nnpm pack\nnpm install --global ./gblr-*.tgz\n```");
  expect(card).not.toMatch(/npx|bunx/); // no registry has the package: another's would be run
  expect(card).toContain('AutoModelForCausalLM.from_pretrained("me/gpt2-mini-gblr", trust_remote_code=True)');
  expect(card).toContain('snapshot_download("me/gpt2-mini-gblr")');
  expect(card).toContain("```sh\nbun run recipes/gpt2-wt103.ts --budget 0.4375\n```");
  expect(card).toContain("| seed | `1111` |");
  expect(card).toContain("| version of libtorch | `2.9.0` |");
  expect(card).toContain("| learning-rate | `0.0015` |");
  expect(card).not.toContain("| limit |");
  expect(card).toContain("arxiv.org/abs/2310.18882");
  expect(card).not.toMatch(PLACEHOLDER);
});

test("a dense model is not said to be compressed", () => {
  const facts = { title: "tuned", task: "text-generation", baseModel: "owner/base" } as const;
  const card = modelCard({ ...facts, structure: "dense", relativeFlops: { reference: 1, actual: 1 } });
  expect(card).toContain("This is [owner/base](https://huggingface.co/owner/base), trained without compression.\n");
  expect(card).not.toMatch(/replaced|multiply-adds/);
});

test("without a fact its sentence is not there", () => {
  const card = modelCard({ title: "bare", task: "image-classification", structure: "monarch" });
  expect(frontMatter(card)).toEqual({
    library_name: "gblr",
    pipeline_tag: "image-classification",
    tags: ["gblr", "monarch", "model-compression"],
  });
  expect(card.match(/^## .*$/gm)).toEqual(["## Use"]);
  expect(card).toContain("This is a network, with its linear layers replaced by Monarch matrices.");
  expect(
    modelCard({
      title: "bare",
      task: "image-classification",
      structure: "monarch",
      baseModel: "scratch:vit_tiny_patch4_32",
    }),
  ).toContain("This is a `vit_tiny_patch4_32` that started from random weights, with its linear layers replaced by");
  expect(card).not.toMatch(/structure\.png|python|2310\.18882/);
});

test("a dense model is not tagged as compressed, nor with a structure", () => {
  const { tags } = frontMatter(modelCard({ ...FACTS, structure: "dense" }));
  expect(tags).toEqual(["gblr", "text"]);
});

test("a folder on a disk is no base model and no data set of the Hub", () => {
  const card = modelCard({ ...FACTS, baseModel: "/home/me/models/gpt2", dataset: { id: "../data" } });
  expect(frontMatter(card)).toMatchObject({ datasets: ["gblr/wikitext-mini", "a/b"] });
  expect(frontMatter(card)).not.toHaveProperty("base_model");
  expect(frontMatter(card)).not.toHaveProperty("model-index");
  expect(card).toContain("`/home/me/models/gpt2` at revision");
});

test("what holds for the base model is read from its card", () => {
  const card = [
    "---",
    "license: other",
    "license_name: my-license",
    "license_link: LICENSE",
    "language: en",
    "tags:\n- a\n- 3\n- b",
    "datasets: [x/y]",
    "pipeline_tag: text-generation",
    "extra: {a: 1}",
    "---",
    "# Base\n---\nlicense: mit\n---",
  ].join("\r\n");
  expect(parseCardMetadata(card)).toEqual({
    license: "other",
    licenseName: "my-license",
    licenseLink: "LICENSE",
    language: ["en"],
    tags: ["a", "b"],
    datasets: ["x/y"],
    pipelineTag: "text-generation",
  });
  expect(parseCardMetadata("---\nlicense: [mit, apache-2.0]\n---\n")).toEqual({ license: ["mit", "apache-2.0"] });
  for (const none of [
    "",
    "# A card",
    "---\n---\n",
    "---\n: : :\n- {\n---\n",
    "---\n- a\n---\n",
    "---\nlicense: mit\n",
  ]) {
    expect(parseCardMetadata(none)).toEqual({});
  }
});

const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom(
    "---",
    "\n---\nlicense: mit\n---\n",
    "| a | b",
    "```\n# x",
    "`",
    "<b>",
    "](x)",
    "a: b",
    "# h",
    "*",
    "\\",
    "'\"",
    "- x",
    "&amp;",
  ),
);
const number = fc.oneof(
  fc.double({ min: -1e30, max: 1e30 }),
  fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, 0, -1, 1e21),
);
const some = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const flops = fc.record({ reference: number, actual: number });
const hostileRow = fc.record({
  name: text,
  structure: fc.oneof(text, fc.constantFrom("dense", "gblr")),
  stage: fc.constantFrom("before" as const, "after" as const),
  metrics: fc.dictionary(fc.oneof(text, fc.constant("perplexity")), number, { maxKeys: 3 }),
  relativeFlops: some(flops),
  parameters: some(number),
  fileBytes: some(number),
  seconds: some(number),
  note: some(text),
});
const hostileFacts = fc.record({
  title: text,
  repository: some(text),
  task: fc.oneof(text, fc.constant("text-generation")),
  structure: fc.oneof(text, fc.constant("gblr")),
  baseModel: some(text),
  baseRevision: some(text),
  base: some(
    fc.record({
      license: some(text),
      language: some(fc.array(text)),
      tags: some(fc.array(text)),
      datasets: some(fc.array(text)),
    }),
  ),
  dataset: some(fc.record({ id: fc.oneof(text, fc.constant("a/b")), config: some(text), revision: some(text) })),
  metrics: some(fc.array(fc.record({ type: text, value: number, split: text }), { maxLength: 3 })),
  comparison: some(fc.array(hostileRow, { maxLength: 4 })),
  relativeFlops: some(flops),
  context: some(fc.nat()),
  hasPicture: some(fc.boolean()),
  hasPython: some(fc.boolean()),
  hasTrainable: some(fc.boolean()),
  command: some(text),
  versions: some(fc.dictionary(text, text, { maxKeys: 3 })),
  engine: some(text),
  device: some(text),
  precision: some(text),
  seed: some(number),
  settings: some(fc.dictionary(text, fc.oneof(text, number, fc.constant(null), fc.array(number)), { maxKeys: 3 })),
}) as fc.Arbitrary<CardFacts>;

/** The lines of a card outside code. */
function proseOf(card: string): string[] {
  const lines: string[] = [];
  let fence = "";
  for (const line of card.slice((card.match(HUB_BLOCK) as RegExpMatchArray)[0].length).split("\n")) {
    const [, mark] = line.match(/^(`{3,})/) ?? [];
    if (fence === "" && mark) fence = mark;
    else if (fence !== "" && line === fence) fence = "";
    else if (fence === "") lines.push(line);
  }
  expect(fence).toBe("");
  return lines;
}

/** What an escape or a pair of backticks takes out of the running text. */
const withoutCode = (line: string): string => line.replace(/\\.|(`+)(?!`)[\s\S]*?[^`]\1(?!`)/gu, "");

const HEADINGS = ["Results", "Block layout", "Use", "How it was made", "Citation"].map((name) => `## ${name}`);

test("no facts break a card: the YAML is read back, sections and tables keep their form, nothing stands in", () => {
  fc.assert(
    fc.property(hostileFacts, (facts) => {
      const card = modelCard(facts);
      const [, , block] = card.match(HUB_BLOCK) as RegExpMatchArray;
      const fields = parse(block as string) as Record<string, unknown>;
      expect(fields.pipeline_tag).toBe(facts.task === "" ? undefined : facts.task.toWellFormed());
      expect(fields.tags).toContain("gblr");
      if (facts.base?.license) expect(fields.license).toBe(String(facts.base.license).toWellFormed());
      else expect(fields).not.toHaveProperty("license");
      const prose = proseOf(card);
      const headings = prose.filter((line) => /^#{1,6}( |$)/.test(line));
      expect(headings.slice(1).every((line) => HEADINGS.includes(line))).toBe(true);
      expect(new Set(headings).size).toBe(headings.length);
      let columns = 0;
      for (const line of prose) {
        const bars = line.startsWith("| ") ? (line.match(/(?<!\\)(?:\\\\)*\|/g)?.length ?? 0) : 0;
        if (bars > 0 && columns > 0) expect(bars).toBe(columns);
        columns = bars;
      }
      expect(prose.filter((line) => /<(?!\/?(details|summary)>)/.test(withoutCode(line)))).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

test("nothing stands in for a value that is missing or is no number", () => {
  const word = fc.constantFrom("alpha", "beta/gamma", "x y");
  const calm = fc.record({
    title: word,
    task: fc.constant("text-generation"),
    structure: word,
    seed: some(number),
    relativeFlops: some(flops),
  });
  const measured = fc.array(fc.record({ type: word, value: number, split: word }), { maxLength: 3 });
  const rows = fc.array(
    fc.record({
      name: word,
      structure: word,
      stage: fc.constant("after" as const),
      metrics: fc.dictionary(word, number),
      relativeFlops: some(flops),
      parameters: some(number),
      seconds: some(number),
    }),
  );
  const settings = fc.dictionary(word, fc.constantFrom(undefined, null, Number.NaN, 1, "a"));
  fc.assert(
    fc.property(calm, measured, rows, settings, (facts, metrics, comparison, settings) => {
      const card = modelCard({ ...facts, metrics, comparison, settings, dataset: { id: "a/b" } } as CardFacts);
      expect(card).not.toMatch(PLACEHOLDER);
    }),
  );
});

test("metadata that we write is metadata that we read", () => {
  const base: BaseMetadata = { license: "mit", language: ["en", "de"], tags: ["x"], datasets: ["q/r"] };
  expect(parseCardMetadata(modelCard({ title: "t", task: "text-generation", structure: "gblr", base }))).toEqual({
    ...base,
    tags: ["gblr", "model-compression", "x"],
    pipelineTag: "text-generation",
  });
});
