// Which files are a split: what READMEs declare in each of their forms, what names alone say, and what is refused.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { fileFilter } from "../../hub/access/file-patterns.ts";
import { globOf, globToRegExp } from "../../workbench/data/dataset/readme-configs.ts";
import { splitFiles } from "../../workbench/data/dataset/split-files.ts";
import { dataFilePatterns } from "../../workbench/data/index.ts";

const readmeOf = (yaml: string) => `---\nlicense: mit\n${yaml}---\n# A data set\n`;

function files(paths: string[], options: { readme?: string; config?: string; split: string }): string {
  const { config, split, files: found } = splitFiles(paths, { dataset: "owner/name", ...options });
  return `${config} ${split}: ${found.join(" ")}`;
}

function refusal(paths: string[], options: { readme?: string; config?: string; split: string }): string {
  let message = "";
  expect(() => {
    try {
      splitFiles(paths, { dataset: "owner/name", ...options });
    } catch (error) {
      message = (error as Error).message;
      throw error;
    }
  }).toThrow();
  expect(message).not.toContain("\n");
  return message;
}

const WIKITEXT = ["wikitext-103-raw-v1", "wikitext-2-raw-v1"].flatMap((config) => [
  `${config}/test-00000-of-00001.parquet`,
  `${config}/train-00000-of-00002.parquet`,
  `${config}/train-00001-of-00002.parquet`,
  `${config}/validation-00000-of-00001.parquet`,
]);

describe("a README's configurations", () => {
  const listed = readmeOf(
    [
      "configs:",
      "- config_name: wikitext-103-raw-v1",
      "  data_files:",
      "  - {split: train, path: wikitext-103-raw-v1/train-*}",
      "  - {split: test, path: [wikitext-103-raw-v1/test-*]}",
      "- config_name: wikitext-2-raw-v1",
      "  default: true",
      "  data_files:",
      "  - split: test",
      "    path: wikitext-2-raw-v1/test-*.parquet",
      "",
    ].join("\n"),
  );

  test("choose the files, in order", () => {
    expect(files(WIKITEXT, { readme: listed, config: "wikitext-103-raw-v1", split: "train" })).toBe(
      "wikitext-103-raw-v1 train: wikitext-103-raw-v1/train-00000-of-00002.parquet wikitext-103-raw-v1/train-00001-of-00002.parquet",
    );
    expect(files(WIKITEXT, { readme: listed, split: "test" })).toBe(
      "wikitext-2-raw-v1 test: wikitext-2-raw-v1/test-00000-of-00001.parquet",
    );
  });

  test.each([
    ["a pattern", "  data_files: texts/*.txt\n", "train", "texts/a.txt texts/b.txt"],
    ["a list of patterns", "  data_files: [texts/b.txt, texts/*.txt]\n", "train", "texts/b.txt texts/a.txt"],
    ["a map", "  data_files: {dev: texts/a.txt, test: [texts/b.txt]}\n", "dev", "texts/a.txt"],
    ["a pattern of folders", "  data_files: '**/*.txt'\n", "train", "texts/a.txt texts/b.txt texts/deep/c.txt"],
    ["one split", "  data_files: {split: test, path: texts/a.txt}\n", "test", "texts/a.txt"],
    [
      "a folder and patterns in it",
      "  data_dir: ./texts/\n  data_files: {test: '[ab].txt'}\n",
      "test",
      "texts/a.txt texts/b.txt",
    ],
    ["a folder alone", "  data_dir: texts/deep\n", "train", "texts/deep/c.txt"],
  ])("may be %s", (_, yaml, split, expected) => {
    const readme = readmeOf(`configs:\n- config_name: one\n${yaml}`);
    const paths = ["README.md", "texts/a.txt", "texts/b.txt", "texts/deep/c.txt"];
    expect(files(paths, { readme, split })).toBe(`one ${split}: ${expected}`);
  });

  test("are refused by what there is", () => {
    expect(refusal(WIKITEXT, { readme: listed, config: "wikitext-3", split: "test" })).toBe(
      'owner/name: has no configuration "wikitext-3"; available: wikitext-103-raw-v1, wikitext-2-raw-v1',
    );
    expect(refusal(WIKITEXT, { readme: listed, config: "wikitext-103-raw-v1", split: "validation" })).toBe(
      'owner/name: has no split "validation" in configuration "wikitext-103-raw-v1"; available: train, test',
    );
    expect(refusal(["README.md"], { readme: listed, split: "test" })).toBe(
      'owner/name: lacks the files of split "test" of "wikitext-2-raw-v1": none matches wikitext-2-raw-v1/test-*.parquet; pull them',
    );
    expect(refusal(WIKITEXT, { readme: readmeOf("configs: [\n"), split: "test" })).toMatch(
      /README\.md: its front matter is not valid YAML: /,
    );
    expect(refusal(WIKITEXT, { readme: readmeOf("configs: 3\n"), split: "test" })).toBe(
      "owner/name: README.md: its front matter has an invalid configs; see the Hub's documentation of data set cards",
    );
    expect(refusal(WIKITEXT, { readme: readmeOf("").replace("license", "configs: []\nlicense"), split: "test" })).toBe(
      "owner/name: has several configurations; choose one of wikitext-103-raw-v1, wikitext-2-raw-v1",
    );
  });
});

describe("the Hub's conventions", () => {
  test.each([
    [
      ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"],
      undefined,
      "train",
      "default train: data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet",
    ],
    [["train.txt", "valid.txt", "README.md"], undefined, "validation", "default validation: valid.txt"],
    [["train.txt", "valid.txt"], undefined, "dev", "default validation: valid.txt"],
    [
      ["en/train/0000.parquet", "en/test/0000.parquet", "de/train/0000.parquet"],
      "en",
      "test",
      "en test: en/test/0000.parquet",
    ],
    [
      ["my_corpus.train.jsonl.gz", "my_corpus.eval.jsonl.gz"],
      undefined,
      "test",
      "default test: my_corpus.eval.jsonl.gz",
    ],
    [
      ["a.txt", "b.txt", ".hidden.txt", "LICENSE.txt", "dataset_infos.json"],
      undefined,
      "train",
      "default train: a.txt b.txt",
    ],
    [
      ["data/unsupervised-00000-of-00001.parquet"],
      undefined,
      "unsupervised",
      "default unsupervised: data/unsupervised-00000-of-00001.parquet",
    ],
    [["train.parquet", "train.jsonl", "test.jsonl"], undefined, "train", "default train: train.parquet"],
    [
      WIKITEXT,
      "wikitext-2-raw-v1",
      "validation",
      "wikitext-2-raw-v1 validation: wikitext-2-raw-v1/validation-00000-of-00001.parquet",
    ],
  ] as [string[], string | undefined, string, string][])(
    "find in %j of %j the split %s",
    (paths, config, split, expected) => {
      expect(files(paths, { split, ...(config === undefined ? {} : { config }) })).toBe(expected);
    },
  );

  test("refuse a folder without text", () => {
    expect(refusal(["README.md", "model.safetensors"], { split: "train" })).toBe(
      "owner/name: has no text data: it contains no .parquet, .jsonl, .json or .txt file",
    );
  });
});

describe("what to pull", () => {
  const readme = readmeOf("configs:\n- config_name: a\n  data_files: {train: 'a/*.parquet', test: a/t.parquet}\n");

  test("is the README's patterns where it has some, the split's files where all are known", () => {
    expect(dataFilePatterns({ readme, split: "train" })).toEqual(["README.md", "a/*.parquet"]);
    expect(dataFilePatterns({ files: WIKITEXT, config: "wikitext-2-raw-v1", split: "test" })).toEqual([
      "README.md",
      "wikitext-2-raw-v1/test-00000-of-00001.parquet",
    ]);
    expect(() => dataFilePatterns({ readme, split: "tests" })).toThrow('the data set: has no split "tests"');
    expect(() => dataFilePatterns({ dataset: "o/n", readme, config: "b", split: "test" })).toThrow(
      'o/n: has no configuration "b"; available: a',
    );
  });

  test("lets a pull, whose ** is no folder or more, find files at any depth", () => {
    const deep = readmeOf("configs:\n- data_files: '**/train/**/*.txt'\n");
    const wanted = fileFilter({ include: dataFilePatterns({ readme: deep, split: "train" }) });
    const paths = ["train/a.txt", "x/train/a.txt", "train/x/a.txt", "x/y/train/z/a.txt"];
    expect(paths.filter(wanted)).toEqual(paths);
    expect(files(["b.txt", ...paths], { readme: deep, split: "train" })).toBe(
      `default train: ${paths.toSorted().join(" ")}`,
    );
  });

  test("covers the split's files, and no other split's, where nothing is known", () => {
    for (const config of ["wikitext-103-raw-v1", undefined]) {
      const patterns = dataFilePatterns({ split: "train", ...(config ? { config } : {}) });
      const matched = WIKITEXT.filter(fileFilter({ include: patterns }));
      expect(matched).toEqual(
        WIKITEXT.filter((path) => path.includes("/train-") && (!config || path.startsWith(config))),
      );
    }
    const plain = fileFilter({ include: dataFilePatterns({ split: "validation" }) });
    for (const path of ["valid.txt", "data/dev-00000-of-00001.parquet", "corpus.validation.jsonl"]) {
      expect(plain(path)).toBe(true);
    }
  });
});

describe("patterns", () => {
  test.each([
    ["a/*.txt", ["a/b.txt"], ["a/b/c.txt", "a/b.txt.gz", "xa/b.txt"]],
    ["**/b.txt", ["b.txt", "a/b.txt", "a/c/b.txt"], ["ab.txt"]],
    ["a/**", ["a/b", "a/b/c"], ["b/a/c"]],
    ["x-[0-9][!a]?.{t}*", ["x-1bc.{t}", "x-1bc.{t}.gz"], ["x-1ac.{t}", "x-bbc.{t}", "x-1b/.{t}", "x-1bc.t"]],
    ["(a|b)+.txt", ["(a|b)+.txt"], ["a.txt", "aab.txt"]],
    // An empty range matches nothing, as in Python's fnmatch.
    ["data/[9-0].txt", [], ["data/9.txt", "data/5.txt", "data/[9-0].txt"]],
  ])("%s", (pattern, matching, others) => {
    expect(matching.filter((path) => !globToRegExp(pattern).test(path))).toEqual([]);
    expect(others.filter((path) => globToRegExp(pattern).test(path))).toEqual([]);
  });

  test("of one path match it alone, whatever characters it has", () => {
    const path = fc.string({
      unit: fc.constantFrom("a", "b", "*", "?", "[", "]", "{", "}", ",", "/", ".", "!", "^", "-", "\\"),
      minLength: 1,
    });
    fc.assert(
      fc.property(path, path, (one, other) => {
        expect(globToRegExp(globOf(one)).test(one)).toBe(true);
        expect(globToRegExp(globOf(one)).test(other)).toBe(one === other);
      }),
    );
  });
});
