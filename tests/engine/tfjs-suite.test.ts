// The rules by which the TensorFlow.js suite is judged: how the list of exclusions is read, and what counts as failure.
// The suite itself runs by `bun run test:tfjs`.

import { describe, expect, test } from "bun:test";
import { parseExclusions, readExclusions } from "./tfjs-suite-exclusions.ts";
import type { Outcome } from "./tfjs-suite-run.ts";
import { judge } from "./tfjs-suite-verdict.ts";

describe("the list of exclusions", () => {
  test("gives each test's name and reason, and ignores everything else", () => {
    const markdown = [
      "# Title",
      "A paragraph with `code`.",
      "- `conv2d x=[1,2]: p=0`: because of this,",
      "  which goes on here",
      "* `` name with a ` in it `` – and that",
    ].join("\n");
    expect(parseExclusions(markdown)).toEqual([
      { test: "conv2d x=[1,2]: p=0", reason: "because of this," },
      { test: "name with a ` in it", reason: "and that" },
    ]);
  });

  test("names the line that has no name, no reason, or a name given before", () => {
    expect(() => parseExclusions("- no name: reason")).toThrow("exclusions, line 1: expected");
    expect(() => parseExclusions("text\n- `name`:")).toThrow("exclusions, line 2: expected");
    expect(() => parseExclusions("- `a`: b\n- `a`: c")).toThrow('exclusions, line 2: "a" is listed twice');
  });

  test("that is shipped can be read", () => {
    expect(readExclusions().every(({ test, reason }) => test !== "" && reason !== "")).toBe(true);
  });
});

describe("the verdict", () => {
  const outcomes: Outcome[] = [
    { test: "passes", status: "passed" },
    { test: "breaks", status: "failed", error: "why" },
    { test: "known", status: "failed", error: "why" },
    { test: "left out", status: "skipped" },
    // Some of its tests share a name.
    { test: "twice", status: "passed" },
    { test: "twice", status: "failed", error: "why" },
  ];
  const listed = (...names: string[]) => names.map((name) => ({ test: name, reason: "known" }));
  const whole = { partial: false, own: true };

  test("counts what is listed apart from what is broken", () => {
    const { passed, failures, excluded, skipped } = judge(outcomes, listed("known", "twice"), whole);
    expect({ passed, excluded, skipped }).toEqual({ passed: 2, excluded: 2, skipped: 1 });
    expect(failures.map(({ test }) => test)).toEqual(["breaks"]);
  });

  test("finds entries whose tests pass, and entries that name no test", () => {
    const { needless, unknown } = judge(outcomes, listed("passes", "twice", "known", "gone"), whole);
    expect(needless).toEqual(["passes"]);
    expect(unknown).toEqual(["gone"]);
  });

  test("cannot tell that an entry names no test when only a part ran, nor that another engine needs none", () => {
    expect(judge(outcomes, listed("gone"), { ...whole, partial: true }).unknown).toEqual([]);
    expect(judge(outcomes, listed("passes"), { ...whole, own: false }).needless).toEqual([]);
  });
});
