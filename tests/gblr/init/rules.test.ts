// Width and location rules against the values that the reference starts with.

import { expect, test } from "bun:test";
import { EngineError } from "../../../workbench/engine/core/errors.ts";
import { locationsByRule, widthsByRule } from "../../../workbench/gblr/init/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { readGolden } from "../../golden.ts";

const golden = readGolden("gblr/svd-init.safetensors");
const GRIDS = { a: { blocks: 48, nIn: 48, nOut: 96 }, b: { blocks: 48, nIn: 96, nOut: 48 } };
const WIDTH_RULES = ["lr0.25", "lr0.35", "lr", "splr", "splr0.25", "splr0.5", "zero", "const0.3"];

function expectNear(actual: ArrayLike<number>, expected: Float64Array): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, i) => {
    expect(Math.abs((actual[i] as number) - value)).toBeLessThanOrEqual(1e-7);
  });
}

forEachEngine("starting rules", () => {
  for (const [name, grid] of Object.entries(GRIDS)) {
    test.each(WIDTH_RULES)(`widths by %s are the reference's for a matrix ${grid.nOut} × ${grid.nIn}`, async (rule) => {
      const widths = widthsByRule(rule, grid);
      expect(widths.shape).toEqual([2, 48]);
      expectNear(await widths.data(), golden.get(`${name}.width_init.${rule}`).values);
    });

    test.each(["linspace", "const0"])(`locations by %s are the reference's for ${name}`, async (rule) => {
      const locations = locationsByRule(rule, grid);
      expect(locations.shape).toEqual([2, 48]);
      expectNear(await locations.data(), golden.get(`${name}.location_init.${rule}`).values);
    });
  }

  test("uniform locations are within [0, 1), repeat with the seed, differ between sides and seeds", async () => {
    const draw = async (seed: number) => Array.from(await locationsByRule("uniform", { blocks: 500, seed }).data());
    const [first, again, other] = [await draw(3), await draw(3), await draw(4)];
    expect(first).toEqual(again);
    expect(first).not.toEqual(other);
    expect(first.slice(0, 500)).not.toEqual(first.slice(500));
    expect(Math.min(...first)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...first)).toBeLessThan(1);
    const mean = first.reduce((sum, value) => sum + value, 0) / first.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.04);
  });

  test("the blocks after an odd number of full ones start with a sample on the input side", async () => {
    const widths = await widthsByRule("lr0.5", { blocks: 6, nIn: 4, nOut: 8 }).data();
    expect(Array.from(widths)).toEqual([1, 1, 1, 0.25, 0, 0.25, 1, 1, 1, 0, 0.125, 0]);
  });
});

test.each(["", "lr1.5", "lr-1", "const", "zero3", "half", "const.", "lr0.2x"])("no width rule is called %p", (rule) => {
  expect(() => widthsByRule(rule, GRIDS.a)).toThrow(EngineError);
});

test.each(["", "const", "const1", "const1.5", "rand", "linspace2"])("no location rule is called %p", (rule) => {
  expect(() => locationsByRule(rule, { blocks: 3 })).toThrow(EngineError);
});
