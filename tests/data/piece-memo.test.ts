// The memory of a memo of pieces: bounded, and right about what it has forgotten.

import { expect, test } from "bun:test";
import { IdList } from "../../workbench/data/tokenizer/id-list.ts";
import { PieceMemo } from "../../workbench/data/tokenizer/piece-memo.ts";

test("a memo holds two generations at most, asks once for a piece it holds, and again for one it forgot", () => {
  const asked: string[] = [];
  const memo = new PieceMemo((piece) => {
    asked.push(piece);
    return Array.from(piece, Number);
  }, 10);
  const encode = (...pieces: string[]) => {
    const ids = new IdList(1);
    memo.encode(pieces, ids);
    return [...ids.take()];
  };
  expect(encode("12", "3", "12")).toEqual([1, 2, 3, 1, 2]);
  expect(asked).toEqual(["12", "3"]);
  for (let piece = 100; piece < 200; piece++) {
    expect(encode(String(piece), "12")).toEqual([...Array.from(String(piece), Number), 1, 2]);
    expect(memo.size).toBeLessThanOrEqual(20);
  }
  expect(asked.filter((piece) => piece === "12")).toEqual(["12"]);
  expect(encode("3", "100")).toEqual([3, 1, 0, 0]);
  expect(asked.slice(-2)).toEqual(["3", "100"]);
});

test("a memo keeps no long piece", () => {
  const memo = new PieceMemo(() => [1, 2]);
  memo.encode(["x".repeat(65), "x".repeat(64)], new IdList());
  expect(memo.size).toBe(1);
});
