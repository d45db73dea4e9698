// Where blocks lie and how often they overlap, against counting entry by entry; and the spans of trainable matrices
// against those that packing finds.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { GblrMatrix } from "../../workbench/gblr/matrix.ts";
import { pack } from "../../workbench/gblr/packed.ts";
import { blockUse } from "../../workbench/gblr/widths.ts";
import { describe } from "../../workbench/report/describe-model.ts";
import { summarizeBlocks, widthHistogram } from "../../workbench/report/layer-summary.ts";
import { rasterOf } from "../../workbench/report/pictures/layout-picture.ts";
import { layoutCost, layoutOfSpans, layoutOfWidths } from "../../workbench/structures/gblr-layout.ts";
import type { BlockLayout } from "../../workbench/structures/structure.ts";
import { forEachEngine } from "../engine/engines.ts";
import { readGolden } from "../golden.ts";
import { matrixStructure } from "../structures/matrix-structures.ts";
import { overlapCounts } from "./overlap-counts.ts";

const side = fc.integer({ min: 2, max: 12 });
const layouts: fc.Arbitrary<BlockLayout> = fc.record({ nIn: side, nOut: side }).chain(({ nIn, nOut }) => {
  const start = (n: number) => fc.integer({ min: 0, max: n - 1 });
  const length = (n: number) => fc.integer({ min: 1, max: n });
  const block = fc.tuple(start(nIn), length(nIn), start(nOut), length(nOut));
  return fc.array(block, { maxLength: 9 }).map((blocks) => {
    const rows = [0, 1, 2, 3].flatMap((row) => blocks.map((values) => values[row] as number));
    return layoutOfSpans(Int32Array.from(rows), { nIn, nOut });
  });
});

/** Asks every block about every entry. */
function countOneByOne({ nIn, nOut, ...spans }: BlockLayout): number[] {
  const covers = (starts: ArrayLike<number>, lengths: ArrayLike<number>, b: number, n: number) => (i: number) =>
    (i - (starts[b] as number) + n) % n < (lengths[b] as number);
  const counts = new Array<number>(nOut * nIn).fill(0);
  for (let b = 0; b < spans.startIn.length; b++) {
    const across = covers(spans.startIn, spans.lengthIn, b, nIn);
    const down = covers(spans.startOut, spans.lengthOut, b, nOut);
    for (let at = 0; at < counts.length; at++) {
      if (down(Math.floor(at / nIn)) && across(at % nIn)) counts[at] = (counts[at] as number) + 1;
    }
  }
  return counts;
}

test("overlap counts are those of asking every block about every entry, cyclic spans included", () => {
  fc.assert(
    fc.property(layouts, (layout) => {
      expect([...overlapCounts(layout)]).toEqual(countOneByOne(layout));
    }),
    { numRuns: 300 },
  );
});

test("a block that wraps on both sides covers the four corners", () => {
  const corners = layoutOfSpans(Int32Array.from([3, 2, 2, 2]), { nIn: 4, nOut: 3 });
  expect([...overlapCounts(corners)]).toEqual([1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1]);
});

test("the summary agrees with the counts: mean, most and share without any", () => {
  fc.assert(
    fc.property(layouts, fc.integer({ min: 1, max: 3 }), (layout, rank) => {
      const counts = countOneByOne(layout);
      const { live, all, cover, mostCover, uncovered } = summarizeBlocks(layout, { all: 20, rank });
      const { nIn, nOut, lengthIn, lengthOut } = layout;
      expect({ live, all, mostCover }).toEqual({
        live: lengthIn.length,
        all: 20,
        mostCover: rank * Math.max(...counts),
      });
      expect(uncovered).toBe(counts.filter((count) => count === 0).length / counts.length);
      const product = (b: number) => ((lengthIn[b] as number) / nIn) * ((lengthOut[b] as number) / nOut);
      const products = Array.from({ length: live }, (_, b) => rank * product(b)).reduce((a, b) => a + b, 0);
      expect(cover).toBeCloseTo(products, 10);
    }),
  );
});

test("a raster has the mean of the entries that each pixel stands for, and small matrices keep their entries", () => {
  fc.assert(
    fc.property(layouts, fc.integer({ min: 1, max: 12 }), (layout, most) => {
      const { nIn, nOut } = layout;
      const counts = countOneByOne(layout);
      const { width, height, values } = rasterOf(layout, most);
      expect({ width, height }).toEqual({ width: Math.min(nIn, most), height: Math.min(nOut, most) });
      if (nIn <= most && nOut <= most) expect([...values]).toEqual(counts);
      const [least, top] = [Math.min(...counts), Math.max(...counts)];
      for (const value of values) expect(value >= least && value <= top).toBe(true);
      if (nIn % width === 0 && nOut % height === 0) {
        const mean = (numbers: ArrayLike<number>) => Array.from(numbers).reduce((a, b) => a + b, 0) / numbers.length;
        expect(mean(values)).toBeCloseTo(mean(counts), 10);
      }
    }),
  );
});

test("widths fall into eighths that are closed above", () => {
  expect(widthHistogram([1, 2, 3, 8, 9, 15, 16], 16)).toEqual([2, 1, 0, 1, 1, 0, 0, 2]);
  expect(widthHistogram([7], 7)).toEqual([0, 0, 0, 0, 0, 0, 0, 1]);
  expect(widthHistogram([2], 3)).toEqual([0, 0, 0, 0, 0, 1, 0, 0]);
});

test("trainable layouts cost what the cost rule says, for every rank and width", () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  const widths = fc.integer({ min: 1, max: 8 }).chain((k) => fc.array(share, { minLength: 2 * k, maxLength: 2 * k }));
  fc.assert(
    fc.property(widths, side, side, fc.integer({ min: 1, max: 3 }), (shares, nIn, nOut, rank) => {
      const layout = layoutOfWidths({ widths: shares, locations: shares, nIn, nOut });
      const { cost, live } = blockUse(shares, { nIn, nOut, rank });
      expect(layoutCost(layout, rank)).toBe(cost);
      expect(layout.lengthIn.length).toBe(live.filter(Boolean).length);
    }),
  );
});

const golden = readGolden("gblr/layer.safetensors");
const parameter = (name: string) => {
  const { values, shape } = golden.get(name);
  return tf.tensor(Float32Array.from(values), shape, "float32");
};

forEachEngine("layouts", () => {
  test.each([
    ["a", Number.POSITIVE_INFINITY],
    ["b", Number.POSITIVE_INFINITY],
    ["a", 100],
    ["b", 10],
  ])("the spans of trainable layer %p at sigma %p are those that packing finds", async (name, sigma) => {
    const names = ["lr_weight1", "lr_weight2", "widths", "locations"] as const;
    const [lr_weight1, lr_weight2, widths, locations] = names.map((part) =>
      parameter(`${name}.${part}`),
    ) as tf.Tensor[];
    const parameters = { lr_weight1, lr_weight2, widths, locations } as { [name in (typeof names)[number]]: tf.Tensor };
    const { spans, nIn, nOut } = await pack(new GblrMatrix(parameters, { sigma }));
    const layout = layoutOfWidths({
      widths: golden.get(`${name}.widths`).values,
      locations: golden.get(`${name}.locations`).values,
      nIn,
      nOut,
      sigma,
    });
    const { startIn, lengthIn, startOut, lengthOut } = layoutOfSpans((await spans.data()) as Int32Array, { nIn, nOut });
    expect(layout.lengthIn.length).toBeGreaterThan(20);
    expect(Array.from(layout.startIn)).toEqual(Array.from(startIn));
    expect(Array.from(layout.lengthIn)).toEqual(Array.from(lengthIn));
    expect(Array.from(layout.startOut)).toEqual(Array.from(startOut));
    expect(Array.from(layout.lengthOut)).toEqual(Array.from(lengthOut));
  });

  test.each([
    ["lowrank", 24, 16],
    ["monarch", 24, 16],
    ["monarch", 22, 18],
    ["block-low-rank", 21, 14],
    ["block-sparse", 32, 32],
  ])("the cost from shapes is the structure's own: %p (%p, %p)", async (name, nOut, nIn) => {
    const structure = matrixStructure(name);
    const parameters = await structure.fromDense(tf.randomNormal([nOut, nIn], 0, 1, "float32", 5), 0.7);
    const shapes = Object.fromEntries(structure.parameterNames.map((name) => [name, parameters[name]?.shape ?? []]));
    const layer = {
      name: "layer",
      nIn,
      nOut,
      structure: name,
      isNamed: true,
      shapes,
      buffers: [],
      check: async () => {},
    };
    const { inspection } = await describe({ layers: [layer], embeddings: [] }, { path: "model" });
    expect(inspection.totals.all.cost).toBe(await structure.cost(parameters));
  });
});
