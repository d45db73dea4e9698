// Plans of packed products compute x Wᵀ for blocks of any spans, and follow tiles. Products are compared with those of
// the blocks one by one, in float64.

import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { type PackedPlan, planOf, wholePlan } from "../../../workbench/export/onnx/layers/packed-plan.ts";
import {
  type BlockSpans,
  inputRuns,
  outputRuns,
  type Run,
  type Span,
} from "../../../workbench/export/onnx/layers/packed-runs.ts";
import { columnTiles, rowTiles } from "./tiles.ts";

const indices = ({ start, length }: Span, n: number) => Array.from({ length }, (_, i) => (start + i) % n);

/** Values that no two blocks share, block by block. */
function valuesOf(spans: readonly Span[]): number[] {
  return spans.flatMap(({ length }, block) => Array.from({ length }, (_, i) => Math.sin(1 + 7 * block + i)));
}

function blockByBlock(spans: readonly BlockSpans[], x: readonly number[], n: number): number[] {
  const y = new Array<number>(n).fill(0);
  const [inner, outer] = [valuesOf(spans.map(({ input }) => input)), valuesOf(spans.map(({ output }) => output))];
  let [i, o] = [0, 0];
  for (const { input, output } of spans) {
    let sum = 0;
    for (const at of indices(input, x.length)) sum += (x[at] as number) * (inner[i++] as number);
    for (const at of indices(output, n)) y[at] = (y[at] as number) + sum * (outer[o++] as number);
  }
  return y;
}

function buffer(runs: readonly Run[], values: readonly number[], size: number): number[] {
  const found = new Array<number>(size).fill(0);
  let at = 0;
  for (const { to, length } of runs) for (let i = 0; i < length; i++) found[to + i] = values[at++] as number;
  expect(at).toBe(values.length);
  return found;
}

/** The products of the plan, as the graph has them. */
function byPlan(spans: readonly BlockSpans[], plan: PackedPlan, x: readonly number[], n: number): number[] {
  const sizeOf = (ranges: readonly { start: number; end: number }[], counts: readonly number[]) =>
    ranges.reduce((sum, { start, end }, i) => sum + (end - start) * (counts[i] as number), 0);
  const groupSize = sizeOf(
    plan.groups,
    plan.groups.map(({ blocks }) => blocks.length),
  );
  const intervalSize = sizeOf(
    plan.intervals,
    plan.intervals.map(({ members }) => members.length),
  );
  const inputs = buffer(inputRuns(spans, plan, x.length), valuesOf(spans.map(({ input }) => input)), groupSize);
  const outputs = buffer(outputRuns(spans, plan, n), valuesOf(spans.map(({ output }) => output)), intervalSize);
  let at = 0;
  const inner = plan.groups.flatMap(({ start, end, blocks }) =>
    blocks.map(() => x.slice(start, end).reduce((sum, value) => sum + value * (inputs[at++] as number), 0)),
  );
  at = 0;
  return plan.intervals.flatMap(({ start, end, members }) => {
    const y = new Array<number>(end - start).fill(0);
    for (const member of members) {
      for (let i = 0; i < y.length; i++)
        y[i] = (y[i] as number) + (inner[member] as number) * (outputs[at++] as number);
    }
    return y;
  });
}

function expectProduct(spans: readonly BlockSpans[], plan: PackedPlan, [nIn, nOut]: readonly [number, number]): void {
  const x = Array.from({ length: nIn }, (_, i) => Math.cos(3 * i));
  const [found, expected] = [byPlan(spans, plan, x, nOut), blockByBlock(spans, x, nOut)];
  expect(found.length).toBe(nOut);
  for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 9);
}

const span = (n: number) =>
  fc
    .record({ start: fc.nat(n - 1), length: fc.integer({ min: 2, max: n }) })
    .map(({ start, length }) => ({ start: length === n ? 0 : start, length }));

test("plans of any blocks, cyclic ones too, compute their product", () => {
  const sizes = fc.tuple(fc.integer({ min: 2, max: 40 }), fc.integer({ min: 2, max: 40 }));
  const layouts = sizes.chain(([nIn, nOut]) =>
    fc.record({
      size: fc.constant([nIn, nOut] as const),
      spans: fc.array(fc.record({ input: span(nIn), output: span(nOut) }), { minLength: 1, maxLength: 12 }),
    }),
  );
  fc.assert(
    fc.property(layouts, ({ size: [nIn, nOut], spans }) => {
      expectProduct(spans, planOf(spans, { nIn, nOut }), [nIn, nOut]);
      expectProduct(spans, wholePlan(spans, { nIn, nOut }), [nIn, nOut]);
    }),
    { seed: 5, numRuns: 300 },
  );
});

test("tiles of columns make groups, tiles of rows make intervals, and both cost less than two factors", () => {
  for (const [spans, size, parts] of [
    [columnTiles([768, 192]), { nIn: 768, nOut: 192 }, "groups"],
    [rowTiles([192, 768]), { nIn: 192, nOut: 768 }, "intervals"],
  ] as const) {
    const plan = planOf(spans, size);
    expect(plan[parts].length).toBeGreaterThan(3);
    expect(plan.cost).toBeLessThan(0.8 * wholePlan(spans, size).cost);
    expectProduct(spans, plan, [size.nIn, size.nOut]);
  }
});

test("indices that a division needs beside those of spans are a small share of the packed form", () => {
  const spans = rowTiles([192, 768]);
  const size = { nIn: 192, nOut: 768 };
  const plan = planOf(spans, size);
  const members = plan.intervals.reduce((sum, each) => sum + each.members.length, 0);
  const runs = inputRuns(spans, plan, size.nIn).length + outputRuns(spans, plan, size.nOut).length;
  const packed = spans.reduce((sum, { input, output }) => sum + 4 * (4 + input.length + output.length), 0);
  const written = packed - 16 * spans.length + 8 * runs + 4 * members;
  expect(written / packed).toBeLessThan(1.05);
});
