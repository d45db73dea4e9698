// Reading of headers: strings that the library would misread, and unusual keys and values that are allowed.

import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { openGguf } from "../../../hub/gguf/index.ts";
import type { Metadata } from "../../../hub/gguf/metadata.ts";
import { temporaryFolder } from "../temporary.ts";
import { gguf, ints, list, type Spec, str, strings, text, u32, uint64 } from "./build.ts";

const at = temporaryFolder();

async function metadataOf(spec: Spec): Promise<Metadata> {
  writeFileSync(at("x.gguf"), gguf(spec));
  const { metadata, close } = await openGguf(at("x.gguf"));
  await close();
  return metadata;
}

/** Bytes of which the library reads pieces. */
const PIECE = 2_000_000;

test("a string is whole wherever a piece that is read ends", async () => {
  const last = "z".repeat(700_000);
  // The pads have 24 + 1 bytes of head, key and type around them.
  for (const before of [PIECE - 699_000, PIECE - 350_000, PIECE - 20, PIECE - 1, PIECE]) {
    const pads = [1, 2, 3].map((i) => [`p${i}`, str("p".repeat(Math.floor(before / 3) - 30))] as const);
    const metadata = await metadataOf({ metadata: [...pads, ["alone", str(last)], ["after", u32(7)]] });
    expect(metadata.text("alone")).toBe(last);
    expect(metadata.count("after")).toBe(7);
    const words = ["a", "b", last];
    const listed = await metadataOf({ metadata: [...pads, ["list", strings(words)], ["after", u32(7)]] });
    expect(listed.texts("list")).toEqual(words);
    expect(listed.count("after")).toBe(7);
  }
});

test("a byte order mark at the start of a string is kept", async () => {
  const words = ["\ufeff", "\ufeffusing", "a\ufeff", "", "b"];
  const metadata = await metadataOf({
    metadata: [
      ["words", strings(words)],
      ["word", str("\ufeffx")],
    ],
  });
  expect(metadata.texts("words")).toEqual(words);
  expect(metadata.text("word")).toBe("\ufeffx");
});

test("arrays as long as those of large vocabularies are read", async () => {
  const words = Array.from({ length: 150_000 }, (_, i) => `word ${i}`);
  const metadata = await metadataOf({
    metadata: [
      ["a", strings(words)],
      ["b", strings(words)],
    ],
  });
  expect(metadata.texts("b")).toEqual(words);
});

test("keys like those of objects are read as any others; empty arrays and big numbers too", async () => {
  const metadata = await metadataOf({
    metadata: [
      ["__proto__", str("x")],
      ["constructor", u32(1)],
      ["none", list(8, [])],
      ["ids", ints([3, -1])],
      ["big", [10, uint64(2n ** 60n)]],
      ["toString.x", [8, text("y")]],
    ],
  });
  expect(metadata.has("toString")).toBe(false);
  expect(metadata.count("constructor")).toBe(1);
  expect(metadata.texts("none")).toEqual([]);
  expect(metadata.numbers("ids")).toEqual([3, -1]);
  expect(() => metadata.count("big")).toThrow(": big must be a whole number of 0 or more, is 1152921504606847000");
  expect(metadata.text("toString.x")).toBe("y");
});
