// What the page of `gblr watch` knows of runs, compared with what reports read from the same file.

import { describe, expect, test } from "bun:test";
import {
  evaluationsOf,
  parseMetrics,
  samplesOf,
  stepsOf,
  structuresOf,
} from "../../../../workbench/report/metrics-log.ts";
import type { Metrics } from "../../../../workbench/train/metrics.ts";
import { lastStep, quantitiesOf, type Run, withEvent } from "../../../../workbench/web/page/watch/run-store.js";
import { metricLines } from "../../../report/example-run.ts";

const LINES = metricLines({ steps: 60, depth: 2, width: 16, blocks: 4 });
const SECOND = 1;

const after = (events: readonly object[]): readonly Run[] =>
  events.reduce<readonly Run[]>(withEvent, withEvent([], { kind: "runs", runs: ["a", "b"] }));
const told = (lines: readonly Metrics[], run = 0) => ({ kind: "metrics", run, lines });

function valuesOf(run: Run | undefined, name: string): [number, number][] {
  return (run?.curves.get(name)?.values ?? []).map(({ step, y }) => [step, y]);
}

describe("the curves of a run", () => {
  test("are those of its metrics, however they come", () => {
    const [run] = after([told(LINES.slice(0, 7)), told([]), told(LINES.slice(7))]);
    expect(valuesOf(run, "loss")).toEqual(stepsOf(LINES).map(({ step, loss }) => [step, loss]));
    expect(valuesOf(run, "perplexity, validation")).toEqual(
      evaluationsOf(LINES).map(({ step, values }) => [step, values.perplexity as number]),
    );
    expect(valuesOf(run, "relativeFlops")).toEqual(
      structuresOf(LINES).map(({ step, relativeFlops }) => [step, relativeFlops.reference]),
    );
    expect(run?.structures.map(({ layers }) => layers)).toEqual(structuresOf(LINES).map(({ layers }) => layers));
    expect(lastStep(run as Run)).toBe(60);
  });

  test("have each step once, from its last line, as in reports", () => {
    const again = LINES.filter(({ step }) => step > 30).map((line) =>
      line.kind === "step" ? { ...line, loss: line.loss + 1 } : line,
    );
    const lines = [...LINES, ...again];
    const { metrics } = parseMetrics(lines.map((line) => JSON.stringify(line)).join("\n"));
    const [run] = after([told(lines)]);
    expect(valuesOf(run, "loss")).toEqual(stepsOf(metrics).map(({ step, loss }) => [step, loss]));
    expect(run?.structures).toHaveLength(structuresOf(metrics).length);
  });

  test("are beside samples, of which each step has one of each prompt, the last one, as in reports", () => {
    const sample = (step: number, prompt: string, text: string): Metrics => {
      return { kind: "sample", step, epoch: 0, seconds: step, prompt, text };
    };
    const lines = [
      ...[sample(0, "a", "1"), sample(0, "b", "2"), sample(5, "a", "3"), sample(5, "b", "4"), sample(9, "a", "5")],
      ...[sample(5, "a", "6"), sample(5, "b", "7")],
    ];
    const { metrics } = parseMetrics(lines.map((line) => JSON.stringify(line)).join("\n"));
    const textsOf = (samples: readonly { step: number; prompt: string; text: string }[]) =>
      samples.map(({ step, prompt, text }) => `${step} ${prompt} ${text}`);
    const [run] = after([told(lines)]);
    expect(textsOf(run?.samples ?? [])).toEqual(["0 a 1", "0 b 2", "5 a 6", "5 b 7"]);
    expect(textsOf(samplesOf(metrics)).slice(0, 4)).toEqual(["0 a 1", "0 b 2", "5 a 6", "5 b 7"]);
    const broken = JSON.stringify({ ...sample(1, "a", "b"), text: 3 });
    expect(parseMetrics(`${broken}\n`)).toEqual({ metrics: [], refused: 1 });
  });

  test("begin again when the run does, while others stay as they are", () => {
    const before = after([told(LINES), told(LINES, SECOND)]);
    const now = [{ kind: "restarted", run: 0 }, told(LINES.slice(0, 3))].reduce<readonly Run[]>(withEvent, before);
    expect(valuesOf(now[0], "loss")).toHaveLength(stepsOf(LINES.slice(0, 3)).length);
    expect(now[0]?.restarts).toBe(1);
    expect(now[SECOND]).toBe(before[SECOND] as Run);
  });

  test("leave out what is no finite number", () => {
    const line = { ...LINES[0], sigma: null, loss: "NaN" } as unknown as Metrics;
    const [run] = after([told([line])]);
    expect([...(run?.curves.keys() ?? [])].sort()).toEqual([
      "gradientNorm",
      "learningRate",
      "meanWidth",
      "rate",
      "relativeCost",
    ]);
  });
});

test("the charts are the loss, the metrics, and the others", () => {
  expect(quantitiesOf(after([told(LINES)]))).toEqual([
    "loss",
    "perplexity",
    "relativeFlops",
    "relativeCost",
    "meanWidth",
    "learningRate",
    "gradientNorm",
    "sigma",
    "rate",
  ]);
  expect(quantitiesOf(after([]))).toEqual([]);
});
