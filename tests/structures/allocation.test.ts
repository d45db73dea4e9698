// Sharing a budget out over layers, on random spectra: never over the budget, never a larger worst error than any other
// choice of ranks that costs as little.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { allocateRanks, type LayerSpectrum } from "../../workbench/structures/allocation.ts";
import type { LayerRank } from "../../workbench/structures/rank-ladder.ts";

const layer = fc
  .record({
    nOut: fc.integer({ min: 1, max: 9 }),
    nIn: fc.integer({ min: 1, max: 9 }),
    rows: fc.integer({ min: 1, max: 4 }),
    values: fc.array(fc.integer({ min: 0, max: 99 }), { minLength: 9, maxLength: 9 }),
  })
  .map(({ nOut, nIn, rows, values }) => ({
    nOut,
    nIn,
    rows,
    singularValues: values.slice(0, Math.min(nOut, nIn)).sort((a, b) => b - a),
  }));

const cases = fc.record({
  layers: fc
    .array(layer, { minLength: 1, maxLength: 4 })
    .map((layers): LayerSpectrum[] => layers.map((layer, i) => ({ ...layer, name: `layer ${i}` }))),
  budget: fc.double({ min: 0.1, max: 1.2, noNaN: true }),
});

const denseCost = (layers: readonly LayerSpectrum[]) =>
  layers.reduce((sum, { nOut, nIn, rows = 1 }) => sum + nOut * nIn * rows, 0);

const total = (ranks: readonly LayerRank[]) => ranks.reduce((sum, { cost }) => sum + cost, 0);
const worst = (ranks: readonly LayerRank[]) => Math.max(...ranks.map(({ error }) => error));

/** Every form a layer can take: factors of each rank, and the matrix itself. */
function choices({ nOut, nIn, rows = 1, singularValues }: LayerSpectrum): { cost: number; error: number }[] {
  const s = Array.from(singularValues);
  const energy = (values: number[]) => Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0));
  const error = (rank: number) => {
    if (s[0] === 0) {
      return 0;
    }
    return energy(s.slice(rank)) / energy(s);
  };
  const factors = s.map((_, i) => ({ cost: rows * (i + 1) * (nOut + nIn), error: error(i + 1) }));
  return [...factors, { cost: rows * nOut * nIn, error: 0 }];
}

/** The least largest error over all combinations that cost no more than `allowed`. */
function leastWorst(layers: LayerSpectrum[], allowed: number): number {
  const [first, ...rest] = layers;
  if (!first) {
    return 0;
  }
  return choices(first)
    .filter(({ cost }) => cost <= allowed)
    .reduce(
      (least, { cost, error }) => Math.min(least, Math.max(error, leastWorst(rest, allowed - cost))),
      Number.POSITIVE_INFINITY,
    );
}

function attempt(...args: Parameters<typeof allocateRanks>): LayerRank[] | undefined {
  try {
    return allocateRanks(...args);
  } catch {
    return undefined;
  }
}

describe("allocation", () => {
  test("holds the budget and reaches the least largest error of all combinations of ranks", () => {
    fc.assert(
      fc.property(cases, ({ layers, budget }) => {
        const allowed = Math.floor(budget * denseCost(layers) * (1 + 1e-12));
        const ranks = attempt(layers, budget);
        const least = leastWorst(layers, allowed);
        expect(ranks === undefined).toBe(least === Number.POSITIVE_INFINITY);
        if (ranks) {
          expect(total(ranks)).toBeLessThanOrEqual(allowed);
          expect(worst(ranks)).toBeCloseTo(least, 12);
        }
      }),
      { seed: 7, numRuns: 150 },
    );
  });

  test("reports the cost and error of the ranks that it gives", () => {
    fc.assert(
      fc.property(cases, ({ layers, budget }) => {
        for (const [i, { dense, rank, cost, error }] of (attempt(layers, budget) ?? []).entries()) {
          const forms = choices(layers[i] as LayerSpectrum);
          const form = dense ? forms.at(-1) : forms[rank - 1];
          expect(cost).toBe(form?.cost as number);
          expect(error).toBeCloseTo(form?.error as number, 12);
        }
      }),
      { seed: 8, numRuns: 80 },
    );
  });

  test("moving one rank from a layer to another never lowers the largest error", () => {
    fc.assert(
      fc.property(cases, ({ layers, budget }) => {
        const ranks = attempt(layers, budget);
        if (!ranks) {
          return;
        }
        const allowed = budget * denseCost(layers) * (1 + 1e-12);
        const forms = layers.map((layer) => choices(layer));
        const moved = (i: number, by: number) => {
          const { dense, rank } = ranks[i] as LayerRank;
          return dense ? undefined : forms[i]?.[rank - 1 + by];
        };
        for (const from of ranks.keys()) {
          for (const to of ranks.keys()) {
            const [less, more] = [moved(from, -1), moved(to, 1)];
            if (from === to || !less || !more) {
              continue;
            }
            const changed = ranks.map((rank, i) => (i === from ? less : i === to ? more : rank)) as LayerRank[];
            if (total(changed) <= allowed) {
              expect(worst(changed)).toBeGreaterThanOrEqual(worst(ranks) - 1e-12);
            }
          }
        }
      }),
      { seed: 9, numRuns: 150 },
    );
  });

  test("gives a layer whose spectrum falls fast less than one whose spectrum is flat", () => {
    const spectrum = (decay: number) => Array.from({ length: 64 }, (_, i) => decay ** i);
    const layers = [
      { name: "steep", nOut: 64, nIn: 64, singularValues: spectrum(0.8) },
      { name: "flat", nOut: 64, nIn: 64, singularValues: spectrum(0.97) },
    ];
    const [steep, flat] = allocateRanks(layers, 0.5) as [LayerRank, LayerRank];
    expect(steep.rank).toBeLessThan(flat.rank / 4);
    // The same rank for both, 16, costs as much and is worse: s_17 / s_1 of the flat one.
    expect(total([steep, flat])).toBeLessThanOrEqual(2 * 16 * (64 + 64));
    expect(worst([steep, flat])).toBeLessThan(0.97 ** 16);
  });

  test("says what rank 1 everywhere would take when the budget is less", () => {
    const layers = [{ name: "fc", nOut: 10, nIn: 10, singularValues: new Array<number>(10).fill(1) }];
    expect(() => allocateRanks(layers, 0.1)).toThrow(
      "allocation: rank 1 in each of 1 layers takes 0.2000 of the dense multiply-adds, the budget is 0.1; " +
        "raise the budget or exclude layers",
    );
    expect(() => allocateRanks([{ name: "fc", nOut: 3, nIn: 4, singularValues: [1] }], 0.5)).toThrow(
      "allocation: fc must have 3 singular values, got 1",
    );
  });
});
