// Files of token ids of every version that has been are read for ever; those of a version that is not known are refused by
// its name.

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { openTokenFile } from "../../workbench/data/tokens/token-file.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const FIXTURES = path.join(import.meta.dirname, "../fixtures/formats/v1");
const at = temporaryFolder();

test.each([
  ["narrow", 299],
  ["wide", 69999],
])("the %s file of version 1 is read whole", async (name, last) => {
  for (const map of [true, false]) {
    const file = await openTokenFile(path.join(FIXTURES, `${name}.tokens`), { map });
    expect([...(await file.read(0, file.length))]).toEqual([0, 1, 299, 17, 255, last]);
    expect(file.vocabSize).toBe(last + 1);
    expect(file.counts).toEqual({ rows: 2, words: 5, bytes: 31 });
    await file.close();
  }
});

test("a file of another version is refused by its name", async () => {
  const text = readFileSync(path.join(FIXTURES, "narrow.tokens"), "latin1");
  writeFileSync(at("newer.tokens"), text.replace('"format":1', '"format":7'), "latin1");
  await expect(openTokenFile(at("newer.tokens"))).rejects.toThrow(
    "format must be 1, is 7; a newer version of gblr wrote it: update gblr, or remove the file",
  );
});
