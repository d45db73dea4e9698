// What structures say that a rank costs, against what they reach at this cost: at least the error of the best matrix of
// the rank, computed in float64.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { structures } from "../../workbench/structures/registry.ts";
import type { Init, StructureKind, StructureParameters } from "../../workbench/structures/structure.ts";
import { forEachEngine } from "../engine/engines.ts";
import { bestLowRank, COVARIANCES, random, tensorOf, type Values } from "../gblr/tiles/cases.ts";
import { outputError, seenRoot } from "../gblr/tiles/found.ts";

type MakeCovariance = (seed: number, n: number) => Values;
const identity = COVARIANCES["the identity"] as MakeCovariance;
const mixed = COVARIANCES["many mixed inputs"] as MakeCovariance;

/** Parameters of an initialization that may cost this much. */
async function startedWith(kind: StructureKind, init: Init, matrices: { weight: Values; sigma: Values; cost: number }) {
  const { rows: nOut, columns: nIn } = matrices.weight;
  const layer = { name: "layers.0.fc", nOut, nIn, allowed: matrices.cost, cost: matrices.cost };
  const structure = kind.forLayer(layer, {});
  const [weight, covariance] = [tensorOf(matrices.weight), tensorOf(matrices.sigma)];
  try {
    const start = kind.starts?.[init];
    if (!start) return { structure, parameters: await structure.fromDense(weight, matrices.cost / (nOut * nIn)) };
    const events = start(weight, { structure, layer, covariance, searchSteps: 1 });
    let next = await events.next();
    while (!next.done) next = await events.next();
    return { structure, parameters: next.value.parameters as StructureParameters };
  } finally {
    tf.dispose([weight, covariance]);
  }
}

const cases = structures().flatMap((kind) =>
  Object.keys(kind.rankCosts ?? {}).map((init) => [kind.name, init as Init, kind] as const),
);

const SHAPES = [
  [24, 36],
  [36, 24],
  [30, 30],
] as const;
const RANKS = [1, 6, 20];

forEachEngine("the cost of a rank", () => {
  test.each(cases)("of %s by %s suffices for the error of the best matrix of this rank", async (_, init, kind) => {
    for (const [i, [m, n]] of SHAPES.entries()) {
      const weight = random(71, m, n);
      const sigma = init === "svd" ? identity(72, n) : mixed(72, n);
      for (const [j, rank] of RANKS.entries()) {
        // A search takes two seconds: one rank of each shape.
        if (init === "search" && i !== j) continue;
        const cost = kind.rankCosts?.[init]?.(rank, { nOut: m, nIn: n }) as number;
        const { structure, parameters } = await startedWith(kind, init, { weight, sigma, cost });
        const dense = structure.dense(parameters);
        const found = { ...weight, values: Float64Array.from(await dense.data()) };
        expect(await structure.cost(parameters)).toBeLessThanOrEqual(cost);
        tf.dispose([dense, ...Object.values(parameters)]);
        const best = outputError(weight, bestLowRank(weight, seenRoot(sigma), rank), sigma);
        expect(outputError(weight, found, sigma)).toBeLessThanOrEqual(best * (1 + 1e-3));
      }
    }
  });
});
