// Curves made short: what is kept of them, and the running mean against its definition.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { sampled, smoothed, thinned } from "../../workbench/report/charts/curves.ts";

const curve = (values: number[]) => values.map((y, x) => ({ x, y }));
const values = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 400 });

test("a thinned curve is short, in order, made of its own points, with both ends and both extremes", () => {
  fc.assert(
    fc.property(values, fc.integer({ min: 4, max: 60 }), (ys, most) => {
      const points = curve(ys);
      const kept = thinned(points, most);
      expect(kept.length).toBeLessThanOrEqual(Math.max(most, 0));
      expect(kept.every((point) => points[point.x] === point)).toBe(true);
      for (const [i, { x }] of kept.slice(1).entries()) expect(x).toBeGreaterThan(kept[i]?.x as number);
      expect([kept[0], kept.at(-1)]).toEqual([points[0], points.at(-1)]);
      const [all, some] = [ys, kept.map(({ y }) => y)];
      expect([Math.min(...some), Math.max(...some)]).toEqual([Math.min(...all), Math.max(...all)]);
    }),
  );
});

test("a sample has both ends and no item twice", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 2, max: 50 }), (length, most) => {
      const items = Array.from({ length }, (_, i) => i);
      const some = sampled(items, most);
      expect(some).toHaveLength(Math.min(length, most));
      expect(new Set(some).size).toBe(some.length);
      expect([some[0], some.at(-1)]).toEqual([0, length - 1]);
    }),
  );
});

test("the running mean is the mean with exponential weights", () => {
  fc.assert(
    fc.property(values, fc.double({ min: 0.5, max: 50, noNaN: true }), (ys, span) => {
      const mean = smoothed(curve(ys), span);
      const scale = Math.max(1, ...ys.map(Math.abs));
      for (const i of [0, Math.floor(ys.length / 2), ys.length - 1]) {
        const weights = ys.map((_, j) => Math.exp(-Math.abs(i - j) / span));
        const whole = weights.reduce((a, b) => a + b);
        const expected = ys.reduce((sum, y, j) => sum + (y * (weights[j] as number)) / whole, 0);
        expect(Math.abs((mean[i]?.y as number) - expected) / scale).toBeLessThan(1e-9);
      }
    }),
  );
});
