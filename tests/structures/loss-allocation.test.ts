// Allocation by the loss against all ways to choose ranks, for models small enough to try every one.

import { expect, test } from "bun:test";
import { seededUniform } from "../../workbench/engine/core/random.ts";
import { allocateByLoss, type LayerEnergies } from "../../workbench/structures/loss-allocation.ts";
import { factorsCost, type RankCost } from "../../workbench/structures/rank-ladder.ts";

/** Costs of ranks: two factors, and factors that have r (r − 1) entries less, so that larger ranks are affordable. */
const RANK_COSTS: [string, RankCost][] = [
  ["factors", factorsCost],
  ["triangular factors", (rank, { nOut, nIn }) => rank * (nOut + nIn - rank) + rank],
];

/** Layers with energies that fall, not evenly, and not always. */
function someLayers(seed: number, rankCost?: RankCost): LayerEnergies[] {
  const uniform = seededUniform(seed);
  const whole = (from: number, to: number) => from + Math.floor(uniform() * (to - from + 1));
  return Array.from({ length: 3 }, (_, i) => {
    const [nOut, nIn] = [whole(6, 14), whole(6, 14)];
    const decay = 0.4 + 0.6 * uniform();
    const scale = 10 ** (2 * uniform());
    const energies = Array.from({ length: Math.min(nOut, nIn) }, (_, at) => scale * decay ** at * (0.2 + uniform()));
    return { name: `layer ${i}`, nOut, nIn, energies, rows: whole(1, 3), rankCost };
  });
}

interface Choice {
  cost: number;
  loss: number;
}

/** Cost and loss of every rank that is worth it, and of the dense matrix. */
function choicesOf({ nOut, nIn, energies, rows = 1, rankCost = factorsCost }: LayerEnergies): Choice[] {
  const costOf = (rank: number) => rankCost(rank, { nOut, nIn });
  const ranks = Array.from({ length: Math.min(nOut, nIn) }, (_, at) => at + 1).filter((r) => costOf(r) < nOut * nIn);
  const tail = (rank: number) =>
    Array.from(energies)
      .slice(rank)
      .reduce((sum, energy) => sum + energy, 0);
  return [
    ...ranks.map((rank) => ({ cost: rows * costOf(rank), loss: tail(rank) })),
    { cost: rows * nOut * nIn, loss: 0 },
  ];
}

const dense = (layers: LayerEnergies[]) => layers.reduce((sum, { nOut, nIn, rows = 1 }) => sum + rows * nOut * nIn, 0);

/** The smallest loss within a budget, by trying all. */
function smallestLoss(layers: LayerEnergies[], allowed: number): number {
  const combined = layers.reduce<Choice[]>(
    (sums, layer) =>
      sums.flatMap((sum) =>
        choicesOf(layer).map(({ cost, loss }) => ({ cost: sum.cost + cost, loss: sum.loss + loss })),
      ),
    [{ cost: 0, loss: 0 }],
  );
  return Math.min(...combined.filter(({ cost }) => cost <= allowed).map(({ loss }) => loss));
}

test.each(RANK_COSTS)("with %s, the predicted loss is nearly the smallest of all choices", (_, rankCost) => {
  let [found, best, exact, count] = [0, 0, 0, 0];
  for (let seed = 1; seed <= 60; seed++) {
    const layers = someLayers(seed, rankCost);
    for (const budget of [0.4, 0.6, 0.8, 1]) {
      const allowed = Math.floor(budget * dense(layers) * (1 + 1e-12));
      const ranks = allocateByLoss(layers, budget);
      const cost = ranks.reduce((sum, rank) => sum + rank.cost, 0);
      const loss = ranks.reduce((sum, rank) => sum + rank.error, 0);
      expect(cost).toBeLessThanOrEqual(allowed);
      const least = smallestLoss(layers, allowed);
      expect(loss).toBeGreaterThanOrEqual(least - 1e-9 * (1 + least));
      // No step of a layer costs more than its dense matrix.
      const step = Math.max(...layers.map((layer) => choicesOf(layer).at(-1)?.cost ?? 0));
      expect(loss).toBeLessThanOrEqual(smallestLoss(layers, allowed - step) + 1e-9);
      found += loss / (1 + least);
      best += least / (1 + least);
      exact += loss <= least * (1 + 1e-9) + 1e-9 ? 1 : 0;
      count++;
    }
  }
  // Three layers of at most 14 ranks leave few choices for the rest of a budget.
  expect(found / best).toBeLessThan(1.2);
  expect(exact / count).toBeGreaterThan(0.4);
});

test("ranks, losses and costs belong together, and a whole budget leaves all layers dense", () => {
  const layers = someLayers(3);
  for (const [i, { rank, error, cost, dense: isDense, name }] of allocateByLoss(layers, 0.6).entries()) {
    const { nOut, nIn, energies, rows = 1, name: own } = layers[i] as LayerEnergies;
    expect(name).toBe(own);
    expect(cost).toBe(rows * (isDense ? nOut * nIn : rank * (nOut + nIn)));
    const left = Array.from(energies)
      .slice(rank)
      .reduce((sum, energy) => sum + energy, 0);
    expect(error).toBeCloseTo(isDense ? 0 : left, 9);
  }
  expect(allocateByLoss(layers, 1).every((layer) => layer.dense && layer.error === 0)).toBe(true);
});

test("a budget below rank 1 everywhere, and energies of another length, are refused", () => {
  const layers = someLayers(4);
  expect(() => allocateByLoss(layers, 0.01)).toThrow(
    /allocation: rank 1 in each of 3 layers takes 0\.\d+ of the dense/,
  );
  const [first] = layers as [LayerEnergies];
  expect(() => allocateByLoss([{ ...first, energies: [1] }], 0.5)).toThrow(/layer 0 must have \d+ energies, got 1/);
});
