// Panels and tiles of packed matrices: what they hold, how much they pad, and their products on every engine against sums
// of blocks in float64.

import { describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { tilesOf } from "../../workbench/gblr/block-tiles.ts";
import { paddingOf, panelsOf } from "../../workbench/gblr/panels.ts";
import { panelsForm } from "../../workbench/structures/inference/panels.ts";
import { tilesForm } from "../../workbench/structures/inference/tiles.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, liveTensors, read, sample, toTensor } from "../engine/ops/operands.ts";
import { type Case, cases, evenly, packedOf, productOf, valuesOf } from "./packed-cases.ts";

/** Columns of a chunk, and of half of one. */
const [WIDTH, HALF] = [32, 16];

describe("panels", () => {
  test("hold each value once, zeros elsewhere, and runs in order within the matrix", () => {
    const check = ({ input, output, nIn, nOut }: Case) => {
      const panels = panelsOf({ input, output }, { nIn, nOut });
      for (const [{ runs, index }, values, rows] of [
        [panels.input, valuesOf(input), nIn],
        [panels.output, valuesOf(output), input.length],
      ] as const) {
        const held = [...index].filter((at) => at !== values).sort((a, b) => a - b);
        expect(held).toEqual(Array.from({ length: values }, (_, at) => at));
        const count = runs.length / 4;
        const part = (at: number) => [...runs.subarray(at * count, (at + 1) * count)];
        const [chunk, columns, first, length] = [part(0), part(1), part(2), part(3)];
        expect(chunk).toEqual(chunk.toSorted((a, b) => a - b));
        expect(first.every((start, run) => start >= 0 && start + (length[run] as number) <= rows)).toBe(true);
        const sizes = columns.map((which, run) => (length[run] as number) * (which === 0 ? WIDTH : HALF));
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(index.length);
      }
      const cost = valuesOf(input) + valuesOf(output);
      expect(paddingOf({ input, output }, { nIn, nOut })).toBe(panels.padding);
      expect(panels.padding).toBeCloseTo((panels.input.index.length + panels.output.index.length) / cost, 12);
    };
    fc.assert(fc.property(cases, check), { seed: 5, numRuns: 60 });
  });

  test("pad nothing if blocks come in sixteens and begin and end at multiples of 16", () => {
    const input = evenly(48, (b) => ({ start: b < 16 ? 0 : 32, length: b < 16 ? 96 : 48 }));
    const output = evenly(48, (b) => ({ start: b < 32 ? 16 : 48, length: 32 }));
    expect(panelsOf({ input, output }, { nIn: 96, nOut: 80 }).padding).toBe(1);
  });

  test("pad little for the staggered blocks of tiles, in any order", () => {
    // two tiles of 48 blocks, whose windows get narrower by one sample from block to block
    const tile = (start: number, end: number) => evenly(48, (b) => ({ start: start + b, length: end - start - b }));
    const [input, output] = [
      [...tile(0, 400), ...tile(400, 800)],
      [...tile(0, 300), ...tile(0, 300)],
    ];
    const straight = panelsOf({ input, output }, { nIn: 800, nOut: 300 }).padding;
    expect(straight).toBeLessThan(1.08);
    const mixed = <T>(list: T[]) => list.map((_, b) => list[(b * 37) % list.length] as T);
    const shuffled = panelsOf({ input: mixed(input), output: mixed(output) }, { nIn: 800, nOut: 300 }).padding;
    expect(shuffled).toBeLessThan(1.1);
  });
});

describe("tiles", () => {
  test("hold each value once, zeros elsewhere, and take all blocks in one order within the matrix", () => {
    const check = ({ input, output, nIn, nOut }: Case) => {
      const plans = tilesOf({ input, output }, { nIn, nOut });
      for (const [{ tiles, index }, values, size] of [
        [plans.input, valuesOf(input), nIn],
        [plans.output, valuesOf(output), nOut],
      ] as const) {
        const held = [...index].filter((at) => at !== values).sort((a, b) => a - b);
        expect(held).toEqual(Array.from({ length: values }, (_, at) => at));
        const triples = Array.from({ length: tiles.length / 3 }, (_, i) => tiles.slice(3 * i, 3 * i + 3) as number[]);
        expect(triples.every(([start = -1, length = 0]) => start >= 0 && length > 0 && start + length <= size)).toBe(
          true,
        );
        expect(triples.reduce((sum, [, , blocks = 0]) => sum + blocks, 0)).toBe(input.length);
        expect(triples.reduce((sum, [, length = 0, blocks = 0]) => sum + length * blocks, 0)).toBe(index.length);
      }
      const cost = valuesOf(input) + valuesOf(output);
      expect(plans.padding).toBeCloseTo((plans.input.index.length + plans.output.index.length) / cost, 12);
    };
    fc.assert(fc.property(cases, check), { seed: 5, numRuns: 60 });
  });

  test("are the tiles of a layout, without padding, in any order of the blocks", () => {
    // three groups of inputs for all outputs, and ten blocks of the whole matrix
    const tile = (b: number) => (b * 7) % 4;
    const input = evenly(40, (b) =>
      tile(b) === 3 ? { start: 0, length: 300 } : { start: 100 * tile(b), length: 100 },
    );
    const output = evenly(40, () => ({ start: 0, length: 200 }));
    const plans = tilesOf({ input, output }, { nIn: 300, nOut: 200 });
    expect(plans.padding).toBe(1);
    expect(plans.input.tiles).toEqual([0, 100, 10, 0, 300, 10, 100, 100, 10, 200, 100, 10]);
    expect(plans.output.tiles).toEqual([0, 200, 40]);
  });

  test("are few for staggered blocks, which share a tile where that pads less than a tile is worth", () => {
    const staggered = evenly(48, (b) => ({ start: b, length: 400 - b }));
    const output = evenly(48, () => ({ start: 0, length: 300 }));
    const { input, padding } = tilesOf({ input: staggered, output }, { nIn: 800, nOut: 300 });
    expect(input.tiles).toEqual([0, 400, 48]);
    expect(padding).toBeCloseTo((48 * 700) / (48 * 300 + 48 * 400 - (48 * 47) / 2), 12);
    // a block far from the others has a tile of its own
    const far = tilesOf(
      { input: [...staggered, { start: 500, length: 300 }], output: [...output, { start: 0, length: 300 }] },
      { nIn: 800, nOut: 300 },
    );
    expect(far.input.tiles).toEqual([0, 400, 48, 500, 300, 1]);
  });
});

const FORMS = [
  ["panels", panelsForm],
  ["tiles", tilesForm],
] as const;

forEachEngine("the product", () => {
  test.each(FORMS)("with %s is the sum of the blocks", async (_, form) => {
    const check = async (random: Case, rows: number) => {
      const { input, output, nIn, nOut } = random;
      const operands = {
        x: sample(1, [rows, nIn]),
        vIn: sample(2, [valuesOf(input)]),
        vOut: sample(3, [valuesOf(output)]),
      };
      const packed = packedOf(random, operands);
      const { structure, parameters } = await form(packed);
      const x = toTensor(operands.x);
      const expected = productOf(random, operands);
      const before = liveTensors().tensors;
      const y = structure.apply(parameters, x);
      expect(liveTensors().tensors).toBe(before + 1);
      expectClose(await read(y), expected, { tolerance: 2e-6, terms: [10] });
      expect(structure.dense(parameters).shape).toEqual([nOut, nIn]);
      const byDense = tf.tidy(() => tf.matMul(x as tf.Tensor2D, structure.dense(parameters), false, true));
      expectClose(await read(byDense), expected, { tolerance: 2e-6, terms: [10] });
      byDense.dispose();
      tf.dispose([x, { ...parameters }]);
    };
    const rows = fc.constantFrom(1, 2, 5, 12, 13, 40, 71);
    await fc.assert(fc.asyncProperty(cases, rows, check), { seed: 6, numRuns: 30 });
  });

  test.each(FORMS)(
    "with %s has one row for each row of x, of any rank, and pads short rows with zeros",
    async (_, form) => {
      const input = evenly(40, (b) => ({ start: b, length: 10 }));
      const output = evenly(40, (b) => ({ start: 2 * b, length: 90 }));
      const random = { input, output, nIn: 50, nOut: 100 };
      const operands = { vIn: sample(2, [400]), vOut: sample(3, [3600]) };
      const { structure, parameters } = await form(packedOf(random, operands));
      const x = sample(4, [6, 45]);
      const wide = tf.pad2d(toTensor(x) as tf.Tensor2D, [
        [0, 0],
        [0, 5],
      ]);
      const y = structure.apply(parameters, tf.reshape(toTensor(x), [2, 3, 45]));
      expect(y.shape).toEqual([2, 3, 100]);
      expect(await read(y)).toEqual(await read(structure.apply(parameters, wide)));
    },
  );
});
