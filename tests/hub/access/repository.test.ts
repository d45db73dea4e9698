// Names of repositories and patterns of files: what is one and what is not, the patterns against Python's own fnmatch.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { fileFilter } from "../../../hub/access/file-patterns.ts";
import { formatRepoName, parseRepoName, RepoNameError } from "../../../hub/access/repository.ts";
import { askPython, pythonWith } from "../../python/python.ts";

test.each([
  ["gpt2", "gpt2", "main"],
  ["openai-community/gpt2", "openai-community/gpt2", "main"],
  ["a_b/C.d-e_f", "a_b/C.d-e_f", "main"],
  ["owner/name@v1.0", "owner/name", "v1.0"],
  ["owner/name@refs/pr/3", "owner/name", "refs/pr/3"],
  [`owner/name@${"a".repeat(40)}`, "owner/name", "a".repeat(40)],
  ["owner/name@feature@2", "owner/name", "feature@2"],
])("%s is %s at %s", (text, id, revision) => {
  expect(parseRepoName(text, "model")).toEqual({ type: "model", id, revision });
});

test.each([
  [""],
  ["/"],
  ["a/"],
  ["/a"],
  ["a/b/c"],
  ["../a"],
  ["a/.."],
  ["a--b/c"],
  ["a..b/c"],
  [".a/b"],
  ["a/b."],
  ["a/-b"],
  ["a/b.git"],
  ["a b/c"],
  ["a\\b"],
  ["a/b\n"],
  ["ä/b"],
  [`a/${"b".repeat(97)}`],
  ["a/b@"],
  ["a/b@../../x"],
  ["a/b@x..y"],
  ["a/b@/x"],
  ["a/b@x/"],
  ["a/b@.x"],
  ["a/b@x.lock"],
  ["a/b@x y"],
  ["a/b@x\u0000"],
  ["a/b@x\\y"],
  ["a/b@x^"],
  ["a/b@x:y"],
  [`a/b@${"x".repeat(256)}`],
])("%j is refused in one line", (text) => {
  let message = "";
  try {
    parseRepoName(text, "dataset");
  } catch (error) {
    expect(error).toBeInstanceOf(RepoNameError);
    message = (error as Error).message;
  }
  expect(message).toMatch(/^"[^\n]*is not a valid (?:name of a dataset|revision of)[^\n]*$/);
});

test("a name is written as it is read", () => {
  for (const text of ["gpt2", "a/b", "a/b@v2"]) expect(formatRepoName(parseRepoName(text, "model"))).toBe(text);
});

const python = pythonWith("fnmatch");

test.skipIf(!python)("patterns match what Python's fnmatch matches", async () => {
  const letters = fc.constantFrom("a", "b", "/", ".", "-", "*", "?", "[", "]", "!", "^", "\\", "\n", "é");
  const text = fc.string({ unit: letters, maxLength: 8 });
  const cases = fc.sample(fc.tuple(text, text), { numRuns: 4000, seed: 12 });
  const plain = cases.map(([pattern, path]) => [pattern, path.replace(/[*?[\]]/g, "a")] as const);
  const source = `import fnmatch, json, sys
print(json.dumps([fnmatch.fnmatchcase(path, pattern + "*" if pattern.endswith("/") else pattern) for pattern, path in json.load(sys.stdin)]))`;
  const theirs = await askPython<boolean[]>(python, source, { input: JSON.stringify(plain) });
  const ours = plain.map(([pattern, path]) => fileFilter({ include: [pattern] })(path));
  const differing = plain.filter((_, i) => ours[i] !== theirs[i]);
  expect(differing).toEqual([]);
  expect(ours.filter((matched) => matched).length).toBeGreaterThan(50);
});
