// Packed matrices for tests of their forms: random spans on both sides, and the product as a sum of blocks in float64.

import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import type { PackedGblr } from "../../workbench/gblr/packed.ts";
import type { BlockSpans } from "../../workbench/gblr/panels.ts";
import type { Span } from "../../workbench/gblr/widths.ts";
import { type Operand, toTensor } from "../engine/ops/operands.ts";

export interface Case extends BlockSpans {
  nIn: number;
  nOut: number;
}

const span = (n: number): fc.Arbitrary<Span> =>
  fc.record({ start: fc.integer({ min: 0, max: n - 1 }), length: fc.integer({ min: 1, max: n }) });

/** Sizes around multiples of the width of chunks, with more blocks than one chunk has. */
export const cases: fc.Arbitrary<Case> = fc
  .record({ nIn: fc.integer({ min: 1, max: 70 }), nOut: fc.integer({ min: 1, max: 70 }) })
  .chain(({ nIn, nOut }) =>
    fc
      .array(fc.tuple(span(nIn), span(nOut)), { minLength: 1, maxLength: 40 })
      .map((blocks) => ({ nIn, nOut, input: blocks.map(([side]) => side), output: blocks.map(([, side]) => side) })),
  );

export const valuesOf = (spans: readonly Span[]): number => spans.reduce((sum, { length }) => sum + length, 0);

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
export function productOf({ input, output, nIn, nOut }: Case, { x, vIn, vOut }: Record<"x" | "vIn" | "vOut", Operand>) {
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

export function packedOf(
  { input, output, nIn, nOut }: Case,
  { vIn, vOut }: { vIn: Operand; vOut: Operand },
): PackedGblr {
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

export const evenly = (count: number, spanAt: (b: number) => Span): Span[] =>
  Array.from({ length: count }, (_, b) => spanAt(b));
