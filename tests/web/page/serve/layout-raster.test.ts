// Block layouts as the page draws them, compared with the pictures of reports and with counts of single entries.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { heat as reportHeat } from "../../../../workbench/report/pictures/colors.ts";
import { rasterOf as reportRaster } from "../../../../workbench/report/pictures/layout-picture.ts";
import {
  blocksAt,
  heat,
  moved,
  rangeOf,
  rasterOf,
  WHOLE,
  zoomed,
} from "../../../../workbench/web/page/serve/layout-raster.js";

const SIDES = { nIn: 48, nOut: 36 };

/** Blocks with cyclic spans anywhere. */
const layouts = fc
  .array(
    fc.record({
      startIn: fc.nat(SIDES.nIn - 1),
      lengthIn: fc.integer({ min: 1, max: SIDES.nIn }),
      startOut: fc.nat(SIDES.nOut - 1),
      lengthOut: fc.integer({ min: 1, max: SIDES.nOut }),
    }),
    { maxLength: 12 },
  )
  .map((blocks) => ({
    report: {
      ...SIDES,
      startIn: blocks.map(({ startIn }) => startIn),
      lengthIn: blocks.map(({ lengthIn }) => lengthIn),
      startOut: blocks.map(({ startOut }) => startOut),
      lengthOut: blocks.map(({ lengthOut }) => lengthOut),
    },
    page: {
      n_in: SIDES.nIn,
      n_out: SIDES.nOut,
      start_in: blocks.map(({ startIn }) => startIn),
      length_in: blocks.map(({ lengthIn }) => lengthIn),
      start_out: blocks.map(({ startOut }) => startOut),
      length_out: blocks.map(({ lengthOut }) => lengthOut),
    },
  }));

describe("a block layout in the page", () => {
  test("is the one of the report's picture", () => {
    fc.assert(
      fc.property(layouts, fc.constantFrom(48, 12), ({ report, page }, most) => {
        // Sides that the pixels divide, because a report's pixel has whole entries.
        const { width, height, values } = reportRaster(report, most);
        const own = rasterOf(page, { width, height });
        for (const [i, value] of values.entries()) expect(own[i]).toBeCloseTo(value, 5);
      }),
    );
  });

  test("shows in a part of the matrix the entries of that part", () => {
    fc.assert(
      fc.property(layouts, fc.nat(3), fc.nat(3), ({ page }, column, row) => {
        // A quarter of each side, with one pixel for each entry.
        const [width, height] = [SIDES.nIn / 4, SIDES.nOut / 4];
        const view = { x: column / 4, y: row / 4, size: 1 / 4 };
        const values = rasterOf(page, { view, width, height });
        for (let y = 0; y < height; y++) {
          for (let x = 0; x < width; x++) {
            const count = blocksAt(page, column * width + x, row * height + y);
            expect(values[y * width + x]).toBeCloseTo(count, 5);
          }
        }
      }),
    );
  });

  test("has the colors of reports", () => {
    for (const range of [
      { least: 0, most: 9 },
      { least: 2, most: 5 },
      { least: 3, most: 3 },
      { least: 0, most: 0 },
    ]) {
      for (const value of [-1, 0, 0.3, 2, 3, 4.5, 9, 12]) expect(heat(value, range)).toBe(reportHeat(value, range));
    }
    expect(rangeOf(Float64Array.of(3, 0.5, 2))).toEqual({ least: 0.5, most: 3 });
  });
});

describe("a zoom", () => {
  const blocks = { n_in: 400, n_out: 100 };

  test("keeps the point under the mouse", () => {
    const at = { x: 0.25, y: 0.75 };
    const view = zoomed(zoomed(WHOLE, { factor: 0.5, at, blocks }), { factor: 0.5, at, blocks });
    expect(view.size).toBeCloseTo(0.25, 12);
    expect(view.x + at.x * view.size).toBeCloseTo(0.25, 12);
    expect(view.y + at.y * view.size).toBeCloseTo(0.75, 12);
  });

  test("and a move stay within the matrix, and magnify single samples at most", () => {
    const near = zoomed(WHOLE, { factor: 1e-9, blocks });
    expect(near.size).toBe(4 / 400);
    expect(moved(near, { x: 1000, y: -1000 })).toEqual({ x: 1 - near.size, y: 0, size: near.size });
    expect(zoomed(near, { factor: 1e9, blocks })).toEqual(WHOLE);
  });
});
