// Filters of sampling against their definitions, computed by sorting in float64, and draws against the softmax.
// transformers.slow.test.ts compares them with transformers.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { filtersOf, processAll, tokenChooser } from "../../../workbench/architectures/parts/sampling/choose.ts";
import { positionOfMass, Scores } from "../../../workbench/architectures/parts/sampling/scores.ts";
import type { SamplingSettings } from "../../../workbench/architectures/parts/sampling/settings.ts";
import { seededUniform } from "../../../workbench/engine/core/random.ts";

/** Multiples of 1/8, of which some are equal. */
const logits = fc
  .array(fc.integer({ min: -160, max: 160 }), { minLength: 2, maxLength: 60 })
  .map((eighths) => Float32Array.from(eighths, (eighth) => eighth / 8));
const share = fc.double({ min: 0.01, max: 1, noNaN: true });

function leftBy(settings: SamplingSettings, values: Float32Array): number[] {
  const scores = new Scores(values.slice());
  processAll(filtersOf(settings), scores, { sequence: [], prompt: 0 });
  return [...scores.left];
}

/** Probabilities in descending order of scores. */
function sortedProbabilities(values: Float32Array): { id: number; p: number }[] {
  const most = Math.max(...values);
  const weights = [...values].map((score) => Math.exp(score - most));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const p = weights.map((weight) => weight / total);
  return [...values.keys()]
    .sort((a, b) => (values[b] as number) - (values[a] as number) || b - a)
    .map((id) => ({ id, p: p[id] as number }));
}

test("top-k leaves the most likely tokens, and those that are as likely as the last of them", () => {
  fc.assert(
    fc.property(logits, fc.integer({ min: 1, max: 60 }), (values, topK) => {
      const limit = [...values].sort((a, b) => b - a)[Math.min(topK, values.length) - 1] as number;
      expect(leftBy({ topK }, values)).toEqual([...values.keys()].filter((id) => (values[id] as number) >= limit));
    }),
  );
});

test("top-p leaves the smallest set that has the probability", () => {
  fc.assert(
    fc.property(logits, share, (values, topP) => {
      const left = new Set(leftBy({ topP }, values));
      let before = 0;
      for (const { id, p } of sortedProbabilities(values)) {
        // Rounding decides at the border.
        if (Math.abs(before - topP) > 1e-9) expect(left.has(id)).toBe(before < topP);
        before += p;
      }
      expect(left.size).toBeGreaterThan(0);
    }),
  );
});

test("min-p and epsilon leave tokens above a probability, and always the most likely one", () => {
  fc.assert(
    fc.property(logits, share, (values, limit) => {
      const sorted = sortedProbabilities(values);
      const most = sorted[0]?.p as number;
      const expectLeft = (settings: SamplingSettings, least: number) => {
        const left = new Set(leftBy(settings, values));
        for (const { id, p } of sorted) {
          if (Math.abs(p / least - 1) > 1e-5)
            expect(left.has(id)).toBe(p > least || values[id] === values[sorted[0]?.id ?? 0]);
        }
      };
      expectLeft({ minP: limit }, limit * most);
      // A cutoff of 1 has no effect, as in transformers.
      expectLeft({ epsilonCutoff: 0.99 * limit }, 0.99 * limit);
    }),
  );
});

test("the position of a mass is that of the sorted order", () => {
  const weighted = fc.array(fc.tuple(fc.float({ noNaN: true, noDefaultInfinity: true }), fc.nat({ max: 9 })), {
    minLength: 1,
  });
  fc.assert(
    fc.property(weighted, share, (entries, part) => {
      const keys = Float32Array.from(entries, ([key]) => key + 0);
      const weights = Float64Array.from(entries, ([, weight]) => weight);
      const mass = part * weights.reduce((sum, weight) => sum + weight, 0);
      const { key, before } = positionOfMass(keys, mass, weights);
      const sum = (holds: (other: number) => boolean) =>
        weights.reduce((total, weight, i) => total + (holds(keys[i] as number) ? weight : 0), 0);
      expect([...keys]).toContain(key);
      expect(before).toBe(sum((other) => other < key));
      if (before > 0) expect(before).toBeLessThan(mass);
      expect(sum((other) => other <= key)).toBeGreaterThanOrEqual(mass);
    }),
  );
});

test("tokens come as often as the softmax says", () => {
  const values = Float32Array.of(1, 2, 0, -1);
  const options = { prompt: 1, maxLength: 9, endOfText: [], vocabulary: 4, uniform: seededUniform(11) };
  const chooser = tokenChooser({ temperature: 2 }, options);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 20000; i++) {
    const id = chooser.choose(values.slice(), [0]);
    counts[id] = (counts[id] as number) + 1;
  }
  const weights = [...values].map((value) => Math.exp(value / 2));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  for (const [id, weight] of weights.entries()) {
    expect(Math.abs((counts[id] as number) / 20000 - weight / total)).toBeLessThan(0.015);
  }
});
