// Curves as the page of `gblr watch` prepares them: the visible part, the running mean of reports, ticks, and zooms.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { smoothed as reportSmoothed } from "../../../../workbench/report/charts/curves.ts";
import {
  labelsOf,
  logTicks,
  nearest,
  smoothed,
  thinned,
  ticks,
  visible,
} from "../../../../workbench/web/page/watch/curves.js";
import { changedView, wholeRange } from "../../../../workbench/web/page/watch/view.js";
import { randomFrom } from "../../../report/example-run.ts";

const random = randomFrom(3);
const NOISY = Array.from({ length: 1000 }, (_, i) => ({ x: i + 1, y: 5 + random() }));

describe("a curve", () => {
  test("has the running mean of the report", () => {
    const own = smoothed(NOISY) ?? [];
    const report = reportSmoothed(NOISY, 20);
    for (const [i, { x, y }] of report.entries()) {
      expect(own[i]?.x).toBe(x);
      expect(own[i]?.y).toBeCloseTo(y, 9);
    }
    expect(smoothed(NOISY.slice(0, 29))).toBeUndefined();
  });

  test("loses none of its spikes when it has too many points", () => {
    const spiky = NOISY.map((point) => (point.x === 417 ? { x: 417, y: 99 } : point));
    const few = thinned(spiky, 100);
    expect(few.length).toBeLessThanOrEqual(200);
    expect(few).toContainEqual({ x: 417, y: 99 });
    expect(few[0]).toEqual(spiky[0] as (typeof spiky)[0]);
    expect(few.at(-1)).toEqual(spiky.at(-1) as (typeof spiky)[0]);
    expect(few.map(({ x }) => x)).toEqual(few.map(({ x }) => x).sort((a, b) => a - b));
  });

  test("is cut to the visible part, with a point beyond each edge", () => {
    const xs = (range: [number, number]) => visible(NOISY, range).map(({ x }) => x);
    expect(xs([10.5, 13.5])).toEqual([10, 11, 12, 13, 14]);
    expect(xs([11, 13])).toEqual([10, 11, 12, 13, 14]);
    expect(xs([-5, 2])).toEqual([1, 2, 3]);
    expect(xs([2000, 3000])).toEqual([1000]);
    expect(visible([], [0, 1])).toEqual([]);
  });

  test("has a nearest point to every place", () => {
    expect(nearest(NOISY, 41.4)?.x).toBe(41);
    expect(nearest(NOISY, 41.6)?.x).toBe(42);
    expect(nearest(NOISY, -9)?.x).toBe(1);
    expect(nearest(NOISY, 1e9)?.x).toBe(1000);
    expect(nearest([], 1)).toBeUndefined();
  });
});

describe("ticks", () => {
  test("are round numbers within the range", () => {
    expect(ticks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(ticks(6.62, 9.1, 4)).toEqual([7, 8, 9]);
    expect(ticks(-0.003, 0.0015, 3)).toEqual([-0.002, 0]);
    expect(logTicks(850, 4200, 4)).toEqual([1000, 2000]);
    expect(logTicks(910, 970, 3)).toEqual([920, 940, 960]);
  });

  test("have labels that differ", () => {
    expect(labelsOf([0, 0.2, 0.4], true)).toEqual(["0 %", "20 %", "40 %"]);
    expect(labelsOf([0.290851, 0.290852], true)).toEqual(["29.0851 %", "29.0852 %"]);
    expect(labelsOf([12_340, 12_345], false)).toEqual(["12340", "12345"]);
  });

  test("are few in any range", () => {
    fc.assert(
      fc.property(
        fc.double({ min: -1e6, max: 1e6, noNaN: true }),
        fc.double({ min: 1e-6, max: 1e6 }),
        (least, size) => {
          const found = ticks(least, least + size, 5);
          expect(found.length).toBeLessThanOrEqual(8);
        },
      ),
    );
  });
});

describe("the visible part", () => {
  const whole = wholeRange([[{ x: 1 }, { x: 80 }], [], [{ x: 3 }, { x: 101 }]]);

  test("is the whole of all runs at first", () => {
    expect(whole).toEqual([1, 101]);
    expect(wholeRange([])).toEqual([0, 1]);
    expect(wholeRange([[{ x: 5 }]])).toEqual([4.5, 5.5]);
  });

  test("is magnified around a place, and never beyond the runs", () => {
    const once = changedView(undefined, { kind: "zoom", factor: 0.5, at: 1 }, whole);
    expect(once).toEqual([1, 51]);
    expect(changedView(once, { kind: "zoom", factor: 4, at: 51 }, whole)).toBeUndefined();
    expect(changedView(once, { kind: "range", range: [90, 500] }, whole)).toEqual([90, 101]);
    expect(changedView(once, { kind: "whole" }, whole)).toBeUndefined();
  });
});
