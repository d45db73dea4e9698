// Windows against the list of ids itself: inputs and targets, overlap, and each token scored once.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { openTokenizer, type TokenFile, tokenWindows, wordsAndBytes } from "../../workbench/data/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { writeTinyTokenizer } from "./hub-folders.ts";

const folder = temporaryFolder();

/** Ids in memory, behind the interface of those on disk. */
function inMemory(ids: ArrayLike<number>): TokenFile {
  const all = Int32Array.from(ids);
  const counts = { rows: 0, words: 0, bytes: 0 };
  const read = async (start: number, count: number) => {
    if (start < 0 || start + count > all.length) throw new RangeError("outside");
    return all.slice(start, start + count);
  };
  return { path: "memory", length: all.length, vocabSize: 300, counts, read, close: async () => {} };
}

const sizes = fc.record({
  length: fc.nat({ max: 60 }),
  context: fc.integer({ min: 1, max: 12 }),
  by: fc.nat({ max: 11 }),
});

describe("windows", () => {
  test("of 600 tokens have 599 targets in one shorter window, of 1524 tokens 1523 in two", async () => {
    const of = (length: number) => tokenWindows(inMemory(new Int32Array(length)), { context: 1024 });
    expect(of(600)).toMatchObject({ length: 1, scored: 599, leftOut: 0 });
    expect((await of(600).read(0)).length).toBe(600);
    expect(of(1524)).toMatchObject({ length: 2, scored: 1523, leftOut: 0 });
    expect((await of(1524).read(1)).length).toBe(500);
    expect([of(1524).newTargets(0), of(1524).newTargets(1)]).toEqual([1024, 499]);
    expect([0, 1, 2, 1024, 1025, 1026, 2049].map((length) => of(length).length)).toEqual([0, 0, 1, 1, 1, 2, 2]);
  });

  test("that are whole, as published tables count them, leave the end out and say how much", () => {
    const of = (length: number) => tokenWindows(inMemory(new Int32Array(length)), { context: 1024, whole: true });
    expect(of(600)).toMatchObject({ length: 0, scored: 0, leftOut: 599 });
    expect(of(1524)).toMatchObject({ length: 1, scored: 1024, leftOut: 499 });
    expect(of(1)).toMatchObject({ length: 0, scored: 0, leftOut: 0 });
  });

  test("that are whole hold context + 1 ids, each input in one window, the incomplete last one dropped", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, async ({ length, context }) => {
        const windows = tokenWindows(inMemory(Array.from({ length }, (_, id) => id)), { context, whole: true });
        expect(windows.length).toBe(Math.max(0, Math.floor((length - 1) / context)));
        for (let i = 0; i < windows.length; i++) {
          expect([...(await windows.read(i))]).toEqual(
            Array.from({ length: context + 1 }, (_, at) => i * context + at),
          );
        }
        expect(windows.scored).toBe(windows.length * context);
        expect(windows.leftOut).toBe(Math.max(0, length - 1) - windows.scored);
      }),
    );
  });

  test("that overlap score every token but the first once, in order", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.boolean(), async ({ length, context, by }, whole) => {
        const stride = 1 + (by % context);
        const windows = tokenWindows(inMemory(Array.from({ length }, (_, id) => id)), { context, stride, whole });
        const scored: number[] = [];
        for (let i = 0; i < windows.length; i++) {
          const ids = await windows.read(i);
          if (whole || i < windows.length - 1) expect(ids.length).toBe(context + 1);
          expect(ids[0]).toBe(i * stride);
          scored.push(...ids.slice(ids.length - windows.newTargets(i)));
        }
        expect(scored).toEqual(Array.from({ length: windows.scored }, (_, at) => at + 1));
        expect(windows.scored + windows.leftOut).toBe(Math.max(0, length - 1));
        // What whole windows leave over is too short for one more.
        if (whole) expect(windows.leftOut).toBeLessThan(windows.length > 0 ? stride : context);
        else expect(windows.leftOut).toBe(0);
      }),
    );
  });

  test("refuse sizes that make none, and numbers that there are not", async () => {
    const tokens = inMemory([1, 2, 3, 4, 5]);
    expect(() => tokenWindows(tokens, { context: 0 })).toThrow(
      new RangeError("context 0: expected a whole number, 1 or more"),
    );
    for (const stride of [0, 3, 1.5]) {
      expect(() => tokenWindows(tokens, { context: 2, stride })).toThrow(
        new RangeError(`stride ${stride}: expected 1 to the context, 2; a larger one would skip tokens`),
      );
    }
    const windows = tokenWindows(tokens, { context: 2 });
    expect(windows.length).toBe(2);
    await expect(windows.read(2)).rejects.toThrow(new RangeError("window 2: there are 2"));
    expect(() => windows.newTargets(-1)).toThrow(new RangeError("window -1: there are 2"));
  });
});

test("words and bytes are those of the text that is scored, whatever windows cut it", async () => {
  const tokenizer = await openTokenizer(writeTinyTokenizer(folder("tokenizer")));
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: "grapheme", maxLength: 40 }), sizes, async (text, { context, by }) => {
      const ids = tokenizer.encode(text);
      const windows = tokenWindows(inMemory(ids), { context, stride: 1 + (by % context) });
      const scored = tokenizer.decode(ids.slice(1, 1 + windows.scored));
      const counts = await wordsAndBytes(windows, tokenizer);
      expect(counts).toEqual(tokenizer.textCounts(ids.slice(1, 1 + windows.scored)));
      expect(counts.words).toBe(scored.match(/\P{White_Space}+/gu)?.length ?? 0);
      const first = windows.length > 0 ? windows.newTargets(0) : 0;
      expect(await wordsAndBytes(windows, tokenizer, { limit: 1 })).toEqual(
        tokenizer.textCounts(ids.slice(1, 1 + first)),
      );
    }),
    { numRuns: 200 },
  );
});
