// Run folders written, read, killed half-way and broken.

import { expect, test } from "bun:test";
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { readRun, startRun, updateRun, writeClassification, writeComparison } from "../../workbench/report/index.ts";
import { parseMetrics, stepsOf } from "../../workbench/report/metrics-log.ts";
import type { Metrics } from "../../workbench/train/metrics.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { facts, metricLines, ROWS, row, SMALL, writeExampleRun } from "./example-run.ts";

const at = temporaryFolder();
const clock = (...times: string[]) => ({ now: () => new Date(times.shift() as string) });

test("a run starts, changes and ends with its times", async () => {
  const folder = at("times", "inner");
  await startRun(folder, facts(), clock("2026-01-02T03:04:05.000Z"));
  const changed = await updateRun(
    folder,
    { status: "failed", error: "no space left" },
    clock("2026-01-02T04:00:00.000Z"),
  );
  const { record, problems } = await readRun(folder);
  expect(problems).toEqual([]);
  expect(record).toEqual(changed);
  expect(record).toMatchObject({
    ...facts(),
    status: "failed",
    error: "no space left",
    started: "2026-01-02T03:04:05.000Z",
  });
  expect(record?.updated).toBe("2026-01-02T04:00:00.000Z");
  const again = await startRun(folder, facts(), clock("2026-01-03T00:00:00.000Z"));
  expect(again).toMatchObject({ status: "running", started: "2026-01-02T03:04:05.000Z" });
  expect(again.error).toBeUndefined();
  expect(readdirSync(folder)).toEqual(["run.json"]);
});

test("settings that are not finite are kept as text", async () => {
  await startRun(at("sigma"), {
    ...facts(),
    settings: { sigma: Number.POSITIVE_INFINITY as never, list: [1, null, "a"] },
  });
  expect((await readRun(at("sigma"))).record?.settings).toEqual({ sigma: "Infinity", list: [1, null, "a"] });
});

test("a number that is none is not written, and what was there stays", async () => {
  const folder = at("none");
  await startRun(folder, facts());
  await writeComparison(folder, ROWS);
  const bad = [{ ...row("gblr", "after", 20), metrics: { perplexity: Number.NaN } }];
  await expect(writeComparison(folder, bad)).rejects.toThrow(
    /comparison\.json: is not written: 0\.metrics\.perplexity: /,
  );
  expect((await readRun(folder)).comparison).toEqual(ROWS);
  const ragged = { classes: ["a", "b"], splits: {}, confusion: [[1, 2], [3]] };
  await expect(writeClassification(folder, ragged)).rejects.toThrow(/confusion: must have a row and a column/);
});

test("folders that hold no run are refused in one line", async () => {
  mkdirSync(at("empty"));
  await expect(readRun(at("empty"))).rejects.toThrow(/empty: is not the folder of a run: it has none of run\.json/);
  await expect(readRun(at("absent"))).rejects.toThrow(/absent: there is no such folder/);
  await expect(updateRun(at("absent"), { status: "finished" })).rejects.toThrow(/there is no such folder/);
});

test("what is broken is said and left out, the rest is read", async () => {
  const folder = at("broken");
  await writeExampleRun(folder);
  writeFileSync(`${folder}/run.json`, '{"format": 1');
  writeFileSync(`${folder}/comparison.json`, '[{"name": "a"}]');
  appendFileSync(`${folder}/metrics.jsonl`, 'garbage\n{"kind":"step","step":1}\n');
  const run = await readRun(folder);
  expect(run.record).toBeUndefined();
  expect(run.comparison).toBeUndefined();
  expect(run.conversion).toHaveLength(6);
  expect(stepsOf(run.metrics)).toHaveLength(SMALL.steps);
  expect(run.problems).toEqual([
    "run.json is left out: it is not JSON.",
    "2 lines of metrics.jsonl could not be understood and are left out.",
    expect.stringMatching(/^comparison\.json is left out: 0\.structure: /),
  ]);
});

test("metrics cut off at any byte give all whole lines before", () => {
  const lines = metricLines({ ...SMALL, steps: 12 });
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  const ends = [...text.matchAll(/\n/g)].map(({ index }) => index);
  fc.assert(
    fc.property(fc.nat(text.length), (length) => {
      const { metrics, refused } = parseMetrics(text.slice(0, length));
      expect(refused).toBe(0);
      // A line without its line end is whole when its last brace is there.
      expect(metrics).toHaveLength(ends.filter((end) => end <= length).length);
    }),
  );
});

test("steps that were done again count as they were done last, in order", () => {
  const line = (step: number, loss: number): Metrics => ({
    ...{ kind: "step", step, epoch: 0, seconds: step, loss, learningRate: 1, gradientNorm: 1, rate: 1 },
  });
  const lines = [line(1, 9), line(2, 8), line(3, 7), line(2, 6), line(3, 5), line(4, 4)];
  const { metrics } = parseMetrics(lines.map((each) => `${JSON.stringify(each)}\n`).join(""));
  expect(stepsOf(metrics).map(({ step, loss }) => [step, loss])).toEqual([
    [1, 9],
    [2, 6],
    [3, 5],
    [4, 4],
  ]);
});

test("an infinite σ, which JSON writes as null, is a line without σ", () => {
  const [line] = metricLines({ ...SMALL, steps: 1 });
  const { metrics, refused } = parseMetrics(`${JSON.stringify({ ...line, sigma: Number.POSITIVE_INFINITY })}\n`);
  expect(refused).toBe(0);
  expect(metrics[0]).not.toHaveProperty("sigma");
});

test("no text makes the reader of metrics fail", () => {
  const value = fc.jsonValue().map((json) => JSON.stringify(json));
  fc.assert(fc.property(fc.array(fc.oneof(fc.string(), value)), (lines) => void parseMetrics(lines.join("\n"))));
  expect(parseMetrics('{"kind":"__proto__"}\n[]\nnull\n').refused).toBe(3);
});

test("what is written is read back from the disk as it was", async () => {
  await writeExampleRun(at("whole"));
  const run = await readRun(at("whole"));
  expect(run.problems).toEqual([]);
  expect(run.comparison).toEqual(ROWS);
  expect(run.metrics).toEqual(metricLines(SMALL).sort((a, b) => a.step - b.step));
  expect(readFileSync(`${at("whole")}/run.json`, "utf8").endsWith("}\n")).toBe(true);
});
