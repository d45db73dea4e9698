// Panels of packed matrices: what they hold, how much they pad, and their product on every engine against sums of blocks
// in float64.

import { describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import type { PackedGblr } from "../../workbench/gblr/packed.ts";
import { type BlockSpans, paddingOf, panelsOf } from "../../workbench/gblr/panels.ts";
import type { Span } from "../../workbench/gblr/widths.ts";
import { panelsForm } from "../../workbench/structures/inference/panels.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, liveTensors, type Operand, read, sample, toTensor } from "../engine/ops/operands.ts";

/** Columns of a chunk, and of half of one. */
const [WIDTH, HALF] = [32, 16];

interface Case extends BlockSpans {
  nIn: number;
  nOut: number;
}

const span = (n: number): fc.Arbitrary<Span> =>
  fc.record({ start: fc.integer({ min: 0, max: n - 1 }), length: fc.integer({ min: 1, max: n }) });

/** Sizes around multiples of the width of chunks, with more blocks than one chunk has. */
const cases: fc.Arbitrary<Case> = fc
  .record({ nIn: fc.integer({ min: 1, max: 70 }), nOut: fc.integer({ min: 1, max: 70 }) })
  .chain(({ nIn, nOut }) =>
    fc
      .array(fc.tuple(span(nIn), span(nOut)), { minLength: 1, maxLength: 40 })
      .map((blocks) => ({ nIn, nOut, input: blocks.map(([side]) => side), output: blocks.map(([, side]) => side) })),
  );

const valuesOf = (spans: readonly Span[]): number => spans.reduce((sum, { length }) => sum + length, 0);

/** Row b: the values of block b at its span on the circle. */
function rowsOf(spans: readonly Span[], { values }: Operand, n: number): Float64Array[] {
  let at = 0;
  return spans.map(({ start, length }) => {
    const row = new Float64Array(n);
    for (let i = 0; i < length; i++) row[(start + i) % n] = values[at++] as number;
    return row;
  });
}

/** Σ_b output_b (input_b · x) for each row x, in float64. */
function productOf({ input, output, nIn, nOut }: Case, { x, vIn, vOut }: Record<"x" | "vIn" | "vOut", Operand>) {
  const [inputs, outputs] = [rowsOf(input, vIn, nIn), rowsOf(output, vOut, nOut)];
  const rows = x.shape[0] as number;
  const y = new Float64Array(rows * nOut);
  for (let row = 0; row < rows; row++) {
    for (const [b, values] of inputs.entries()) {
      let z = 0;
      for (let i = 0; i < nIn; i++) z += (values[i] as number) * (x.values[row * nIn + i] as number);
      for (let o = 0; o < nOut; o++)
        y[row * nOut + o] = (y[row * nOut + o] as number) + z * (outputs[b]?.[o] as number);
    }
  }
  return y;
}

function packedOf({ input, output, nIn, nOut }: Case, { vIn, vOut }: { vIn: Operand; vOut: Operand }): PackedGblr {
  const sides = [
    input.map(({ start }) => start),
    input.map(({ length }) => length),
    output.map(({ start }) => start),
    output.map(({ length }) => length),
  ];
  return {
    spans: tf.tensor2d(Int32Array.from(sides.flat()), [4, input.length], "int32"),
    values_in: toTensor(vIn) as tf.Tensor1D,
    values_out: toTensor(vOut) as tf.Tensor1D,
    nIn,
    nOut,
  };
}

const evenly = (count: number, spanAt: (b: number) => Span): Span[] =>
  Array.from({ length: count }, (_, b) => spanAt(b));

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

forEachEngine("the product with panels", () => {
  test("is the sum of the blocks", async () => {
    const check = async (random: Case, rows: number) => {
      const { input, output, nIn, nOut } = random;
      const operands = {
        x: sample(1, [rows, nIn]),
        vIn: sample(2, [valuesOf(input)]),
        vOut: sample(3, [valuesOf(output)]),
      };
      const packed = packedOf(random, operands);
      const { structure, parameters } = await panelsForm(packed);
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

  test("has one row for each row of x, of any rank, and pads short rows with zeros", async () => {
    const input = evenly(40, (b) => ({ start: b, length: 10 }));
    const output = evenly(40, (b) => ({ start: 2 * b, length: 90 }));
    const random = { input, output, nIn: 50, nOut: 100 };
    const operands = { vIn: sample(2, [400]), vOut: sample(3, [3600]) };
    const { structure, parameters } = await panelsForm(packedOf(random, operands));
    const x = sample(4, [6, 45]);
    const wide = tf.pad2d(toTensor(x) as tf.Tensor2D, [
      [0, 0],
      [0, 5],
    ]);
    const y = structure.apply(parameters, tf.reshape(toTensor(x), [2, 3, 45]));
    expect(y.shape).toEqual([2, 3, 100]);
    expect(await read(y)).toEqual(await read(structure.apply(parameters, wide)));
  });
});
