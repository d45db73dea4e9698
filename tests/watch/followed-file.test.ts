// A file that another process writes: what a look at it reads.

import { expect, test } from "bun:test";
import { appendFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { FollowedFile } from "../../workbench/watch/followed-file.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const at = temporaryFolder();

let count = 0;

/** A file of its own for each test, and looks at it. */
function example({ mostBytes }: { mostBytes?: number } = {}) {
  const file = at(`metrics-${count++}.jsonl`);
  const followed = new FollowedFile(file, { ...(mostBytes && { mostBytes }) });
  const linesNow = async (): Promise<string[]> => {
    const { restarted, lines } = await followed.look();
    return restarted ? ["RESTARTED", ...lines] : lines;
  };
  return { file, followed, linesNow };
}

test("a file that is not there yet is followed once it is", async () => {
  const { file, followed, linesNow } = example();
  expect(await followed.look()).toEqual({ exists: false, restarted: false, lines: [], hasMore: false });
  await writeFile(file, "one\ntwo\n");
  expect(await linesNow()).toEqual(["one", "two"]);
  expect(await linesNow()).toEqual([]);
});

test("an incomplete last line waits for its end, also within a character", async () => {
  const { file, linesNow } = example();
  const bytes = new TextEncoder().encode("σ = 1\n");
  await writeFile(file, "one\n");
  await appendFile(file, bytes.slice(0, 1));
  expect(await linesNow()).toEqual(["one"]);
  await appendFile(file, bytes.slice(1, 4));
  expect(await linesNow()).toEqual([]);
  await appendFile(file, bytes.slice(4));
  expect(await linesNow()).toEqual(["σ = 1"]);
});

test("only what was appended is read", async () => {
  const { file, linesNow } = example();
  await writeFile(file, `${"x".repeat(5000)}\n`);
  await linesNow();
  // Bytes far before the end are changed without notice, which a look that read them again would see.
  await writeFile(file, `y${"x".repeat(4999)}\nnew\n`, { flag: "r+" });
  expect(await linesNow()).toEqual(["new"]);
});

test("a long file comes in parts, and none of its lines is lost", async () => {
  const { file, followed } = example({ mostBytes: 100 });
  const lines = Array.from({ length: 500 }, (_, i) => `line ${i} ${"é".repeat(i % 7)}`);
  await writeFile(file, `${lines.join("\n")}\n`);
  const found: string[] = [];
  let parts = 0;
  for (let hasMore = true; hasMore; parts++) {
    const look = await followed.look();
    found.push(...look.lines);
    hasMore = look.hasMore;
  }
  expect(found).toEqual(lines);
  expect(parts).toBeGreaterThan(50);
});

test("a file that was cut off is read from its start", async () => {
  const { file, linesNow } = example();
  await writeFile(file, "one\ntwo\nthree\n");
  await linesNow();
  await truncate(file, 4);
  expect(await linesNow()).toEqual(["RESTARTED", "one"]);
  await appendFile(file, "two again\n");
  expect(await linesNow()).toEqual(["two again"]);
});

test("a file that was cut off and is as long again is read from its start", async () => {
  const { file, linesNow } = example();
  await writeFile(file, "one\ntwo\nthree\n");
  await linesNow();
  await truncate(file, 4);
  await appendFile(file, "TWO\nthree\nfour\n");
  expect(await linesNow()).toEqual(["RESTARTED", "one", "TWO", "three", "four"]);
});

test("a file that was replaced is read from its start", async () => {
  const { file, linesNow } = example();
  await writeFile(file, "one\ntwo\n");
  await linesNow();
  await writeFile(at("other"), "one\ntwo\nthree\n");
  await rename(at("other"), file);
  expect(await linesNow()).toEqual(["RESTARTED", "one", "two", "three"]);
});

test("a file that was removed and comes again is read from its start", async () => {
  const { file, followed, linesNow } = example();
  await writeFile(file, "one\n");
  await linesNow();
  await rm(file);
  expect(await followed.look()).toEqual({ exists: false, restarted: true, lines: [], hasMore: false });
  expect(await linesNow()).toEqual([]);
  await writeFile(file, "one\n");
  expect(await linesNow()).toEqual(["one"]);
});
