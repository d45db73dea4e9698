// fitWidths over random structures, with a count of its own: within the limit, as near to it as samples allow, never
// wider than before.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ShapeError } from "../../../workbench/engine/core/errors.ts";
import { type FitOptions, fitWidths as fitFlat } from "../../../workbench/gblr/shrink/fit-widths.ts";
import { blockSizes, byLayer, type LayerSize } from "../../../workbench/gblr/widths.ts";

interface LayerWidths extends Omit<LayerSize, "blocks"> {
  /** (2, K) row by row */
  widths: Float32Array;
}

interface FittedWidths {
  widths: Float32Array[];
  shift: number;
  cost: number;
}

/** Layer by layer. */
function fitWidths(layers: readonly LayerWidths[], options: FitOptions): FittedWidths {
  const sizes = blockSizes(layers.map(({ widths, ...size }) => ({ ...size, blocks: widths.length / 2 })));
  const flat = Float32Array.from(layers.flatMap(({ widths }) => [...widths]));
  const { widths, ...fitted } = fitFlat(sizes, flat, options);
  return { ...fitted, widths: byLayer(widths, sizes.layers) };
}

const RUNS = { seed: 20231018, numRuns: 300 };

function roundToEven(x: number): number {
  const nearest = Math.round(x);
  return Math.abs(x - Math.trunc(x)) === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

/** Samples of each block, [input, output]. */
const samplesOf = ({ nIn, nOut }: LayerWidths, widths: Float32Array): [number, number][] =>
  Array.from({ length: widths.length / 2 }, (_, k) => [
    roundToEven(Math.fround((widths[k] as number) * nIn)),
    roundToEven(Math.fround((widths[k + widths.length / 2] as number) * nOut)),
  ]);

const blockCost = ({ rank = 1, uses = 1 }: LayerWidths, [a, b]: [number, number]): number =>
  a < 2 || b < 2 ? 0 : uses * Math.min(rank * a + rank * b, a * b);

const layerCost = (layer: LayerWidths, widths: Float32Array): number =>
  samplesOf(layer, widths).reduce((sum, block) => sum + blockCost(layer, block), 0);

const costOf = (layers: LayerWidths[], widths: Float32Array[]): number =>
  layers.reduce((sum, layer, i) => sum + layerCost(layer, widths[i] as Float32Array), 0);

const clamped = (widths: Float32Array): Float32Array => widths.map((width) => Math.min(1, Math.max(0, width)));
const costBefore = (layers: LayerWidths[]): number =>
  costOf(
    layers,
    layers.map(({ widths }) => clamped(widths)),
  );

interface Sizes {
  blocks: { min: number; max: number };
  n: { min: number; max: number };
}

/** Widths as training leaves them, some on rounding ties, or all alike as the first initializations make them. */
function layerOf({ blocks, n }: Sizes): fc.Arbitrary<LayerWidths> {
  const length = fc.integer(n);
  return fc
    .record({ nIn: length, nOut: length, rank: fc.integer({ min: 1, max: 3 }), uses: fc.integer({ min: 1, max: 4 }) })
    .chain((shape) => {
      const free = fc.double({ min: -0.1, max: 1.1, noNaN: true });
      const tie = fc.integer({ min: 0, max: shape.nIn - 1 }).map((samples) => (samples + 0.5) / shape.nIn);
      const list = (width: fc.Arbitrary<number>) => fc.array(width, { minLength: blocks.min, maxLength: blocks.max });
      const alike = list(fc.constant(0)).chain(({ length }) =>
        fc.oneof(tie, fc.constant(1)).map((w) => Array(length).fill(w)),
      );
      return fc.oneof(list(free), list(tie), list(fc.oneof(free, fc.constantFrom(0, 1))), alike).map((side) => ({
        ...shape,
        widths: Float32Array.from([...side, ...side.toReversed()]),
      }));
    });
}

const structures = (sizes: Sizes, layers = 4) => fc.array(layerOf(sizes), { minLength: 1, maxLength: layers });
const SMALL: Sizes = { blocks: { min: 1, max: 30 }, n: { min: 2, max: 60 } };
const LARGE: Sizes = { blocks: { min: 60, max: 200 }, n: { min: 64, max: 300 } };
const share = (min = 0, max = 1) => fc.double({ min, max, noNaN: true });

function fitted(layers: LayerWidths[], part: number): { limit: number; result: FittedWidths } {
  const limit = part * costBefore(layers);
  return { limit, result: fitWidths(layers, { limit }) };
}

/** The least that a sample more of a live block would cost; blocks end at their former width, or at `most`. */
function cheapestSample(layers: LayerWidths[], widths: Float32Array[], most?: number): number {
  const extras = layers.flatMap((layer, i) => {
    const before = samplesOf(layer, most === undefined ? clamped(layer.widths) : layer.widths.map(() => most));
    return samplesOf(layer, widths[i] as Float32Array).flatMap(([a, b], k) => {
      const [mostA, mostB] = before[k] as [number, number];
      const now = blockCost(layer, [a, b]);
      const more: [number, number][] = [
        [a + 1, b],
        [a, b + 1],
      ];
      const allowed = now > 0 ? more.filter(([x, y]) => x <= mostA && y <= mostB) : [];
      return allowed.map((next) => blockCost(layer, next) - now);
    });
  });
  return Math.min(...extras);
}

describe("fitWidths", () => {
  test("never exceeds the limit, and says the cost that is there", () => {
    fc.assert(
      fc.property(structures(SMALL), share(), (layers, part) => {
        const { limit, result } = fitted(layers, part);
        expect(result.cost).toBeLessThanOrEqual(limit);
        expect(result.cost).toBe(costOf(layers, result.widths));
      }),
      RUNS,
    );
  });

  test("leaves no room for a single sample more", () => {
    fc.assert(
      fc.property(structures(SMALL), share(), (layers, part) => {
        const { limit, result } = fitted(layers, part);
        expect(result.cost + cheapestSample(layers, result.widths)).toBeGreaterThan(limit);
      }),
      RUNS,
    );
  });

  test("comes within 0.1 % of the limit on structures of some thousand samples", () => {
    fc.assert(
      fc.property(structures(LARGE), share(0.1, 0.99), (layers, part) => {
        const { limit, result } = fitted(layers, part);
        fc.pre(limit > 4 * 3 * 1000);
        expect(result.cost).toBeGreaterThanOrEqual(0.999 * limit);
      }),
      { ...RUNS, numRuns: 100 },
    );
  });

  test("never widens, and takes off no more than the shift of the block", () => {
    fc.assert(
      fc.property(structures(SMALL), share(), (layers, part) => {
        const { result } = fitted(layers, part);
        layers.forEach(({ widths, rank = 1 }, i) => {
          const before = clamped(widths);
          (result.widths[i] as Float32Array).forEach((after, at) => {
            const was = before[at] as number;
            expect(after).toBeLessThanOrEqual(was);
            expect(after).toBeGreaterThanOrEqual(Math.fround(Math.max(0, was - rank * result.shift)));
          });
        });
      }),
      RUNS,
    );
  });

  test("shifts by more for a smaller limit", () => {
    fc.assert(
      fc.property(structures(SMALL), share(), share(), (layers, one, other) => {
        const [less, more] = [Math.min(one, other), Math.max(one, other)].map((part) => fitted(layers, part).result);
        expect((less as FittedWidths).shift).toBeGreaterThanOrEqual((more as FittedWidths).shift);
      }),
      RUNS,
    );
  });

  test("gives the same widths for the same input, and leaves the input alone", () => {
    fc.assert(
      fc.property(structures(SMALL), share(), (layers, part) => {
        const copy = layers.map(({ widths }) => widths.slice());
        expect(fitted(layers, part)).toEqual(fitted(layers, part));
        expect(layers.map(({ widths }) => widths)).toEqual(copy);
      }),
      { ...RUNS, numRuns: 50 },
    );
  });

  test("only clamps what is within the limit already", () => {
    fc.assert(
      fc.property(structures(SMALL), (layers) => {
        const { cost, shift, widths } = fitWidths(layers, { limit: costBefore(layers) });
        expect([cost, shift]).toEqual([costBefore(layers), 0]);
        expect(widths).toEqual(layers.map((layer) => clamped(layer.widths)));
      }),
      RUNS,
    );
  });

  test("widens live blocks up to the limit when asked, and leaves dead ones as they were", () => {
    fc.assert(
      fc.property(structures(SMALL), share(1, 4), (layers, part) => {
        const limit = part * costBefore(layers);
        const { cost, widths } = fitWidths(layers, { limit, widen: true });
        expect(cost).toBe(costOf(layers, widths));
        expect(cost).toBeLessThanOrEqual(limit);
        expect(cost + cheapestSample(layers, widths, 1)).toBeGreaterThan(limit);
        layers.forEach((layer, i) => {
          const [before, after] = [clamped(layer.widths), widths[i] as Float32Array];
          expect(after.every((width, at) => width >= (before[at] as number) && width <= 1)).toBe(true);
          samplesOf(layer, before).forEach((block, k) => {
            if (blockCost(layer, block) === 0) {
              expect([after[k], after[k + after.length / 2]]).toEqual([before[k], before[k + after.length / 2]]);
            }
          });
        });
      }),
      RUNS,
    );
  });

  test("shifts a dense row of equal widths to the very sample", () => {
    const layer = { widths: new Float32Array(2 * 96).fill(1), nIn: 96, nOut: 96 };
    for (const limit of [96 * 96, 96 * 96 - 1, 5000, 4001]) {
      expect(fitWidths([layer], { limit }).cost).toBe(limit);
    }
  });

  test("keeps as many of equal small blocks as fit, where one shift would keep all or none", () => {
    const layer = { widths: new Float32Array(2 * 200).fill(2 / 96), nIn: 96, nOut: 96 };
    const { cost, widths } = fitWidths([layer], { limit: 402 });
    expect(cost).toBe(400);
    const live = samplesOf(layer, widths[0] as Float32Array).filter(([a, b]) => a === 2 && b === 2);
    expect(live.length).toBe(100);
  });

  test("takes more from blocks whose samples cost more", () => {
    const widths = new Float32Array(20).fill(0.5);
    const layers = [1, 4].map((rank) => ({ widths, nIn: 1000, nOut: 1000, rank }));
    const result = fitWidths(layers, { limit: 0.5 * costBefore(layers) });
    const lost = result.widths.map((after) => 0.5 - (after[0] as number));
    expect((lost[1] as number) / (lost[0] as number)).toBeCloseTo(4, 1);
  });

  test("reaches a limit of nothing", () => {
    const layer = { widths: new Float32Array(20).fill(1), nIn: 8, nOut: 8 };
    expect(fitWidths([layer], { limit: 0 }).cost).toBe(0);
    expect(fitWidths([], { limit: 0 })).toEqual({ widths: [], shift: 0, cost: 0 });
  });

  test("refuses a limit that is none", () => {
    for (const limit of [-1, Number.NaN]) {
      const refusal = new ShapeError(`fitWidths: limit must be a number of at least 0, got ${limit}`);
      expect(() => fitWidths([], { limit })).toThrow(refusal);
    }
  });
});
