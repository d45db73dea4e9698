// searchTiles on every engine: within the budget as GBLR matrices count, never worse than the best low rank of the same
// cost in float64, also for special matrices, and no tensor is left.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { EngineError, ShapeError } from "../../../workbench/engine/core/errors.ts";
import { svdFloat64 } from "../../../workbench/engine/linalg/float64.ts";
import { wholeRank } from "../../../workbench/gblr/tiles/layout.ts";
import { searchTiles } from "../../../workbench/gblr/tiles/search.ts";
import { gblr } from "../../../workbench/structures/gblr.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { liveTensors } from "../../engine/ops/operands.ts";
import { COVARIANCES, normOf, random, rootOf, tensorOf, times, type Values, WEIGHTS } from "./cases.ts";
import { lowRankError, meanVariance, outputError, searched } from "./found.ts";

const covariance = (name: string, seed: number, n: number): Values =>
  (COVARIANCES[name] as (seed: number, n: number) => Values)(seed, n);
const weight = (name: string, seed: number, m: number, n: number): Values =>
  (WEIGHTS[name] as (seed: number, m: number, n: number) => Values)(seed, m, n);

/** Rounding of float32, as a share of the outputs. */
const ROUNDING = 2e-6;

/** Searches, and checks what the search promises: the budget, and an error of at most that of the best low rank. */
async function expectPromises(matrix: Values, sigma: Values, allowed: number, { stable = false } = {}) {
  const found = await searched(matrix, sigma, { allowed, stable });
  if (found === undefined) return undefined;
  const { cost, said, dense } = found;
  expect(cost).toBe(said.cost);
  expect(cost).toBeLessThanOrEqual(allowed);
  const error = outputError(matrix, dense, sigma);
  // What is added to variances is part of what is minimized: a share of each, and 1e-8 of their mean.
  const least = 1e-8 * meanVariance(sigma);
  const added = (variance: number) => said.damping * (variance + least) + least;
  const theirs = lowRankError(matrix, sigma, allowed, added);
  expect(error).toBeLessThanOrEqual(theirs * (1 + 1e-5) + ROUNDING);
  return { ...found, error, theirs };
}

const SHAPES = [
  [20, 36],
  [36, 20],
  [33, 33],
] as const;

forEachEngine("searchTiles", (engine) => {
  test.each(Object.keys(COVARIANCES))("is never worse than the best low rank of the same cost for %s", async (name) => {
    const place = Object.keys(COVARIANCES).indexOf(name);
    for (const [i, kind] of Object.keys(WEIGHTS).entries()) {
      // A case takes half a second: of each covariance, every third kind of weights is tried, of each kind of weights every
      // third covariance, and fewer on the slower engines.
      if ((i + place) % (engine().name === "torch" ? 3 : 6) !== 0) continue;
      const [m, n] = SHAPES[i % SHAPES.length] as [number, number];
      await expectPromises(weight(kind, i, m, n), covariance(name, i + 50, n), Math.floor(0.45 * m * n));
    }
  });

  test("is within the budget and no worse than low rank for random sizes, budgets and numbers of inputs", async () => {
    const side = fc.integer({ min: 1, max: 40 });
    await fc.assert(
      fc.asyncProperty(
        side,
        side,
        fc.double({ min: 0.02, max: 1.2, noNaN: true }),
        fc.constantFrom("many mixed inputs", "the identity", "fewer inputs than features"),
        fc.nat(1e6),
        fc.boolean(),
        async (m, n, budget, name, seed, stable) => {
          const allowed = Math.max(1, Math.floor(budget * m * n));
          const found = await expectPromises(random(seed, m, n), covariance(name, seed + 1, n), allowed, { stable });
          // Without a result there is none to be had, since random matrices are eliminated without loss.
          const isAffordable = Math.min(m, n) > 1 && wholeRank({ nIn: n, nOut: m, stable }, allowed) > 0;
          expect(found !== undefined).toBe(isAffordable);
        },
      ),
      { numRuns: engine().name === "cpu" ? 15 : 40, seed: 21 },
    );
  });

  test("costs what the structure itself counts for its parameters", async () => {
    for (const [m, n] of SHAPES) {
      const [target, sigma] = [tensorOf(random(1, m, n)), tensorOf(covariance("many mixed inputs", 2, n))];
      for await (const event of searchTiles(target, sigma, { allowed: Math.floor(0.5 * m * n) })) {
        if (event.type === "progress") continue;
        const { parameters, cost } = event;
        expect(await gblr.cost({ ...parameters })).toBe(cost);
        tf.dispose(parameters as unknown as tf.TensorContainer);
      }
      tf.dispose([target, sigma]);
    }
  });

  test("gives stable blocks, which do not cancel each other, of a larger error", async () => {
    const [m, n] = [60, 64];
    const [target, sigma] = [tensorOf(random(8, m, n)), tensorOf(covariance("many mixed inputs", 9, n))];
    const results: { cancellation: number; error: number }[] = [];
    for (const stable of [true, false]) {
      for await (const event of searchTiles(target, sigma, { allowed: Math.floor(0.5 * m * n), stable })) {
        if (event.type === "progress") continue;
        const parameters = { ...event.parameters };
        results.push({ cancellation: (await gblr.cancellation?.(parameters)) ?? 0, error: event.error });
        tf.dispose(parameters);
      }
    }
    tf.dispose([target, sigma]);
    const [stable, compact] = results as [(typeof results)[0], (typeof results)[0]];
    expect(stable.cancellation).toBeLessThan(3);
    expect(compact.cancellation).toBeGreaterThan(5 * stable.cancellation);
    expect(compact.error).toBeLessThan(stable.error);
  });

  test("has a clearly smaller error than the best low rank where half of the dense cost is allowed", async () => {
    for (const [m, n] of SHAPES) {
      const found = await expectPromises(random(3, m, n), covariance("the identity", 0, n), Math.floor(0.5 * m * n));
      expect(found?.error).toBeLessThan(0.94 * (found?.theirs as number));
    }
  });

  test.each([
    [12, 15],
    [15, 12],
    [13, 13],
  ])("leaves the tail of the singular values from the whole tile's rank on, for (%i, %i)", async (m, n) => {
    // Sides below 16 have no layout but the whole matrix.
    const allowed = Math.floor(0.7 * m * n);
    const sigma = covariance("many mixed inputs", 4, n);
    const matrix = random(5, m, n);
    const found = await expectPromises(matrix, sigma, allowed);
    const rank = wholeRank({ nIn: n, nOut: m }, allowed);
    expect(rank).toBeGreaterThan(Math.floor(allowed / (m + n)));
    expect(found?.blocks).toBe(rank);
    const seen = times(matrix, rootOf(sigma));
    const { s } = svdFloat64(seen);
    const tail = Math.hypot(...s.slice(rank)) / normOf(seen);
    expect(Math.abs((found?.error as number) / tail - 1)).toBeLessThan(1e-4);
    expect(Math.abs((found?.said.error as number) / tail - 1)).toBeLessThan(1e-3);
  });

  test("finds a matrix exactly where its rank is affordable", async () => {
    for (const kind of ["of rank one", "of rank three", "of equal rows", "with one entry"]) {
      const found = await expectPromises(
        weight(kind, 6, 24, 18),
        covariance("many mixed inputs", 7, 18),
        24 * 18 * 0.5,
      );
      expect(found?.error ?? 0).toBeLessThan(5e-6);
    }
  });

  test("does not depend on the scales of weights and inputs", async () => {
    const [m, n] = [20, 24];
    const [matrix, sigma] = [random(8, m, n), covariance("many mixed inputs", 9, n)];
    const scaled = (each: Values, by: number) => ({ ...each, values: each.values.map((value) => value * by) });
    const one = await searched(matrix, sigma, { allowed: 240 });
    for (const [byWeight, bySigma] of [
      [2 ** -66, 1],
      [2 ** 50, 1],
      [1, 2 ** -40],
      [2 ** 50, 2 ** 40],
    ] as const) {
      const other = await searched(scaled(matrix, byWeight), scaled(sigma, bySigma), { allowed: 240 });
      expect(other?.blocks).toBe(one?.blocks as number);
      expect(Math.abs((other?.said.error as number) / (one?.said.error as number) - 1)).toBeLessThan(1e-3);
    }
  });

  test("gives identical numbers in two runs, and counts its steps", async () => {
    const [matrix, sigma] = [random(10, 32, 32), covariance("many mixed inputs", 11, 32)];
    const one = await searched(matrix, sigma, { allowed: 500 });
    const other = await searched(matrix, sigma, { allowed: 500 });
    expect(other).toEqual(one as NonNullable<typeof one>);
    expect(one?.steps).toEqual((one?.steps ?? []).toSorted((a, b) => a - b));
    expect(one?.steps.length).toBeGreaterThan(10);
  });

  test("disposes of all tensors when its loop is left early", async () => {
    const [target, sigma] = [tensorOf(random(12, 20, 36)), tensorOf(covariance("many mixed inputs", 13, 36))];
    const before = liveTensors();
    for (const most of [1, 6, 10]) {
      for await (const event of searchTiles(target, sigma, { allowed: 300 })) {
        if (event.type === "progress" && event.step >= most) break;
      }
      expect(liveTensors()).toEqual(before);
    }
    tf.dispose([target, sigma]);
  });

  test("finds nothing in a matrix of zeros, or with a budget below the smallest tile", async () => {
    const sigma = covariance("the identity", 0, 18);
    expect(await searched(weight("of zeros", 1, 16, 18), sigma, { allowed: 100 })).toBeUndefined();
    expect(await searched(random(14, 16, 18), sigma, { allowed: 33 })).toBeUndefined();
    expect((await searched(random(14, 16, 18), sigma, { allowed: 34 }))?.blocks).toBe(1);
    expect(await searched(random(15, 1, 18), sigma, { allowed: 100 })).toBeUndefined();
  });

  test("operands that do not fit and values that are not finite are refused in one line, and nothing is left", async () => {
    const before = liveTensors();
    const refusal = async (target: Values, sigma: Values, allowed = 300): Promise<unknown> => {
      const tensors = [tensorOf(target), tensorOf(sigma)] as const;
      try {
        for await (const event of searchTiles(...tensors, { allowed })) expect(event.type).toBe("progress");
        return undefined;
      } catch (error) {
        return error;
      } finally {
        tf.dispose([...tensors]);
        expect(liveTensors()).toEqual(before);
      }
    };
    const [matrix, sigma] = [random(16, 20, 18), covariance("many mixed inputs", 17, 18)];
    const broken = (each: Values, value: number) => ({ ...each, values: each.values.with(25, value) });
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(await refusal(broken(matrix, bad), sigma)).toEqual(
        new ShapeError("searchTiles: target must be finite, it holds Infinity or NaN"),
      );
      expect(await refusal(matrix, broken(sigma, bad))).toEqual(
        new ShapeError("searchTiles: covariance must be finite, it holds Infinity or NaN"),
      );
    }
    expect(await refusal(matrix, covariance("the identity", 0, 17))).toEqual(
      new ShapeError("searchTiles: covariance must be float32 (18, 18), got float32 (17, 17)"),
    );
    expect(await refusal(matrix, sigma, 0)).toEqual(
      new ShapeError("searchTiles: allowed must be a number above 0, got 0"),
    );
    const negative = { ...sigma, values: sigma.values.map((value) => -value) };
    const error = await refusal(matrix, negative);
    expect(error).toBeInstanceOf(EngineError);
    expect((error as EngineError).message).toContain("covariance of inputs is not positive semidefinite");
  });
});
