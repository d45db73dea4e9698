// Initialization `search` of GBLR where the covariance of inputs is known, on every engine: never worse than the best
// low rank of the same cost in float64, also if the search finds nothing and low rank itself is taken.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { symmetricEigenFloat64 } from "../../workbench/engine/linalg/float64.ts";
import { gaudiMask } from "../../workbench/gblr/mask.ts";
import { gblr } from "../../workbench/structures/gblr.ts";
import type { SearchProgress, StartedLayer, StartOptions } from "../../workbench/structures/structure.ts";
import { forEachEngine } from "../engine/engines.ts";
import { liveTensors } from "../engine/ops/operands.ts";
import { COVARIANCES, random, tensorOf, type Values, WEIGHTS } from "../gblr/tiles/cases.ts";
import { lowRankError, meanVariance, outputError } from "../gblr/tiles/found.ts";

type Maker<Sizes extends unknown[]> = (seed: number, ...sizes: Sizes) => Values;
const covariance = (name: string, n: number): Values => (COVARIANCES[name] as Maker<[number]>)(61, n);
const weight = (name: string, m: number, n: number): Values => (WEIGHTS[name] as Maker<[number, number]>)(62, m, n);

/** What `convert` gives an initialization for a layer of this size. */
function optionsFor({ rows: nOut, columns: nIn }: Values, budget: number): Omit<StartOptions, "covariance"> {
  const layer = {
    name: "layers.0.fc",
    nOut,
    nIn,
    allowed: Math.floor(budget * nOut * nIn),
    cost: gblr.costWithin({ nOut, nIn }, budget),
  };
  return { structure: gblr, layer, searchSteps: 1 };
}

const start = (target: tf.Tensor2D, options: StartOptions): AsyncGenerator<SearchProgress, StartedLayer> => {
  const search = gblr.starts?.search;
  if (!search) throw new Error("gblr has no init search");
  return search(target, options);
};

/** Masks of a length keep two tensors from their first use on. */
const makeTables = (...lengths: number[]): void =>
  tf.tidy(() => {
    for (const length of lengths) gaudiMask(tf.zeros([1]), tf.zeros([1]), length);
  });

/** Initializes a layer and checks that its matrix is finite, within the budget, and no worse than low rank. */
async function expectNoWorse(matrix: Values, sigma: Values, budget: number) {
  const { rows, columns } = matrix;
  makeTables(rows, columns);
  const before = liveTensors();
  const [target, seen] = [tensorOf(matrix), tensorOf(sigma)];
  const options = optionsFor(matrix, budget);
  const events = start(target, { ...options, covariance: seen });
  const progress: SearchProgress[] = [];
  let next = await events.next();
  for (; !next.done; next = await events.next()) progress.push(next.value);
  const { parameters, by } = next.value;
  const dense = gblr.dense(parameters);
  const found = { values: Float64Array.from(await dense.data()), rows, columns };
  const cost = await gblr.cost(parameters);
  tf.dispose([dense, target, seen, ...Object.values(parameters)]);
  expect(liveTensors()).toEqual(before);
  expect(found.values.every(Number.isFinite)).toBe(true);
  expect(cost).toBeLessThanOrEqual(options.layer.allowed);
  // What the methods add to variances is part of what they minimize: the search a share of each, and low rank, which is
  // taken where the search finds nothing, a share of the largest eigenvalue.
  const [largest = 0] = symmetricEigenFloat64(sigma.values, columns).values;
  const least = 1e-8 * meanVariance(sigma);
  const added = (variance: number) => (by === "search" ? 1e-5 * (variance + least) + least : 1e-6 * largest);
  const theirs = lowRankError(matrix, sigma, options.layer.cost, added);
  const error = outputError(matrix, found, sigma);
  expect(error).toBeLessThanOrEqual(theirs * (1 + 1e-5) + 2e-6);
  return { by, error, theirs, progress, cost };
}

const SHAPES = [
  [36, 20],
  [20, 36],
  [33, 33],
] as const;

forEachEngine("init search by outputs", (engine) => {
  test.each(Object.keys(WEIGHTS))(
    "is never worse than the best low rank of the same cost, for weights %s",
    async (kind) => {
      const place = Object.keys(WEIGHTS).indexOf(kind);
      for (const [i, name] of Object.keys(COVARIANCES).entries()) {
        // A case takes half a second: of each kind of weights, every third covariance is tried, other ones than the test of
        // the search itself tries, and fewer on the slower engines.
        if ((i + place + 1) % (engine().name === "torch" ? 3 : 6) !== 0) continue;
        const [m, n] = SHAPES[i % SHAPES.length] as [number, number];
        await expectNoWorse(weight(kind, m, n), covariance(name, n), 0.45);
      }
    },
  );

  test("finds blocks for ordinary weights, with less error and no more cost than low rank, and reports progress", async () => {
    const { by, error, theirs, progress, cost } = await expectNoWorse(
      random(63, 36, 40),
      covariance("many mixed inputs", 40),
      0.5,
    );
    expect(by).toBe("search");
    expect(error).toBeLessThan(0.9 * theirs);
    expect(cost).toBeLessThanOrEqual(720);
    expect(progress.length).toBeGreaterThan(10);
    for (const event of progress) {
      expect(event).toMatchObject({ kind: "search", name: "layers.0.fc" });
      expect(event.error).toBeGreaterThan(0);
      expect(event.error).toBeLessThanOrEqual(1);
    }
  });

  test("takes low rank if no blocks have this matrix, and reports it", async () => {
    // All corners are zero and no edge is.
    const [m, n] = [20, 20];
    const crossed = random(64, m, n);
    const inside = (i: number) => i > 6 && i < 13;
    const values = crossed.values.map((value, i) => (inside(Math.floor(i / n)) === inside(i % n) ? 0 : value));
    const { by } = await expectNoWorse({ ...crossed, values }, covariance("the identity", n), 0.45);
    expect(by).toBe("activation");
    const zero = await expectNoWorse(weight("of zeros", m, n), covariance("the identity", n), 0.45);
    expect(zero.by).toBe("activation");
  });

  test("stops between two steps when it is aborted, and disposes of all tensors", async () => {
    makeTables(32, 24);
    const before = liveTensors();
    const matrix = random(65, 32, 24);
    const [target, seen] = [tensorOf(matrix), tensorOf(covariance("many mixed inputs", 24))];
    const abort = new AbortController();
    const events = start(target, { ...optionsFor(matrix, 0.5), covariance: seen, signal: abort.signal });
    let steps = 0;
    const drained = (async () => {
      for await (const _ of events) {
        steps++;
        if (steps === 3) abort.abort();
      }
    })();
    expect(await drained.then(undefined, ({ name }: Error) => name)).toBe("AbortError");
    expect(steps).toBe(3);
    tf.dispose([target, seen]);
    expect(liveTensors()).toEqual(before);
  });
});

forEachEngine("the search by outputs with a block rank", () => {
  const started = async (matrix: Values, options: { budget: number; blockRank: number }) => {
    const [target, seen] = [tensorOf(matrix), tensorOf(covariance("many mixed inputs", matrix.columns))];
    const { budget, blockRank } = options;
    const events = start(target, { ...optionsFor(matrix, budget), covariance: seen, blockRank });
    try {
      let next = await events.next();
      while (!next.done) next = await events.next();
      return next.value;
    } finally {
      tf.dispose([target, seen]);
    }
  };
  const zeros: Values = { rows: 32, columns: 24, values: new Float64Array(32 * 24) };

  test("takes blocks of that rank and full width where it finds none", async () => {
    const { parameters, by } = await started(zeros, { budget: 0.6, blockRank: 4 });
    expect(by).toBe("activation");
    // 460 multiply-adds pay for two blocks of 4 · 56.
    expect(parameters.lr_weight1?.shape).toEqual([2, 4, 24]);
    expect(parameters.lr_weight2?.shape).toEqual([2, 32, 4]);
    expect([...((await parameters.widths?.data()) ?? [])]).toEqual([1, 1, 1, 1]);
    tf.dispose(Object.values(parameters));
  });

  test("refuses a layer that cannot pay for one block, in one line", async () => {
    const refused = await started(zeros, { budget: 0.2, blockRank: 4 }).catch((error: Error) => error.message);
    expect(refused).toBe(
      "layers.0.fc may cost 153 multiply-adds per row, one block of rank 4 costs 224; give a smaller --block-rank, or leave the layer out with --layers",
    );
  });
});
