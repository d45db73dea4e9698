// The ranks that a cut keeps, for any sizes and budgets: within the parameters, between the sizes, and as near as single
// ranks allow.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { type LayerOnWay, ranksWithin } from "../../../workbench/compress/sizes/walk.ts";

/** Ranks of some tiles at some sizes, none of which falls. */
const layer = (sizes: number) =>
  fc
    .record({
      added: fc.array(fc.array(fc.nat(6), { minLength: 3, maxLength: 3 }), { minLength: sizes, maxLength: sizes }),
      prices: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 3, maxLength: 3 }),
    })
    .map(({ added, prices }): LayerOnWay => {
      const ranks = added.map((_, size) =>
        [0, 1, 2].map((tile) => sum(added.slice(0, size + 1).map((own) => own[tile]))),
      );
      // Concave in the ranks, as that of staggered blocks.
      const cost = (own: readonly number[]) =>
        sum(own.map((rank, tile) => rank * (200 - rank) * (prices[tile] as number)));
      return { ranks, cost };
    });

const sum = (values: readonly (number | undefined)[]): number =>
  values.reduce<number>((all, value) => all + (value ?? 0), 0);
const layers = fc.integer({ min: 1, max: 4 }).chain((sizes) => fc.array(layer(sizes), { minLength: 1, maxLength: 4 }));
const costOf = (all: readonly LayerOnWay[], kept: readonly number[][]) =>
  sum(all.map(({ cost }, i) => cost(kept[i] as number[])));

test("a cut has at most the parameters allowed, and no rank beyond the largest size", () => {
  fc.assert(
    fc.property(layers, fc.nat(60_000), (all, allowed) => {
      const kept = ranksWithin(all, allowed);
      expect(costOf(all, kept)).toBeLessThanOrEqual(allowed);
      for (const [i, ranks] of kept.entries()) {
        for (const [tile, rank] of ranks.entries()) {
          expect(rank).toBeLessThanOrEqual(all[i]?.ranks.at(-1)?.[tile] as number);
        }
      }
    }),
  );
});

test("a cut with exactly the parameters of a size is that size, or one with no fewer", () => {
  fc.assert(
    fc.property(layers, fc.nat(3), (all, at) => {
      const wanted = all.map(({ ranks }) => [...(ranks[Math.min(at, ranks.length - 1)] as readonly number[])]);
      const kept = ranksWithin(all, costOf(all, wanted));
      expect(costOf(all, kept)).toBe(costOf(all, wanted));
      for (const [i, ranks] of kept.entries())
        expect(ranks.every((rank, t) => rank >= (wanted[i]?.[t] as number))).toBe(true);
    }),
  );
});

test("a rank that a cut leaves out between two sizes would not have fitted beside the others", () => {
  fc.assert(
    fc.property(layers, fc.nat(60_000), (all, allowed) => {
      const kept = ranksWithin(all, allowed);
      const above = all[0]?.ranks.findIndex(
        (_, size) =>
          costOf(
            all,
            all.map(({ ranks }) => [...(ranks[size] ?? [])]),
          ) > allowed,
      );
      if (above === undefined || above < 0) return;
      for (const [i, ranks] of kept.entries()) {
        for (const [tile, rank] of ranks.entries()) {
          if (rank >= (all[i]?.ranks[above]?.[tile] as number)) continue;
          const more = kept.map((own, j) => own.map((each, t) => (i === j && t === tile ? each + 1 : each)));
          expect(costOf(all, more)).toBeGreaterThan(allowed);
        }
      }
    }),
  );
});
