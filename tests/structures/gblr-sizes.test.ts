// Cuts of packed GBLR matrices that are hard to write with staggered spans, and blocks that are no tiles.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { layoutCost, wholeLayout } from "../../workbench/gblr/tiles/layout.ts";
import { packedStructure } from "../../workbench/structures/inference/packed.ts";
import type { NestedMatrix, SizeRanks } from "../../workbench/structures/structure.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, liveTensors, read } from "../engine/ops/operands.ts";
import { random, type Values } from "../gblr/tiles/cases.ts";

const [M, N, RANK] = [12, 14, 5];

/** Packed blocks that cover the matrix whole. @param left (M, RANK) */
function wholeBlocks(left: Values, right: Values) {
  const columns = Array.from({ length: RANK }, (_, k) =>
    Array.from({ length: M }, (_, row) => left.values[row * RANK + k] as number),
  );
  return {
    spans: tf.tensor2d(
      [0, N, 0, M].flatMap((value) => new Array<number>(RANK).fill(value)),
      [4, RANK],
      "int32",
    ),
    values_in: tf.tensor1d(Float32Array.from(right.values)),
    values_out: tf.tensor1d(Float32Array.from(columns.flat())),
  };
}

const structure = packedStructure({ nIn: N, nOut: M, blocks: RANK });

async function opened(parameters: ReturnType<typeof wholeBlocks>, ranks: SizeRanks = [[3], [RANK]]) {
  return (await structure.nestedMatrix?.(parameters, ranks)) as NestedMatrix;
}

/** A factor without some of its entries. */
const without = (matrix: Values, drops: (row: number, column: number) => boolean): Values => ({
  ...matrix,
  values: matrix.values.map((value, i) => (drops(Math.floor(i / matrix.columns), i % matrix.columns) ? 0 : value)),
});

forEachEngine("a cut of blocks", () => {
  test("takes as many numbers as staggered spans need, fewer than the blocks that are kept", async () => {
    const parameters = wholeBlocks(random(1, M, RANK), random(2, RANK, N));
    const nested = await opened(parameters);
    // Tables of masks are kept from the first use on.
    tf.dispose({ ...(await nested.cut([2])).parameters });
    const before = liveTensors();
    const held = await nested.cut([3]);
    const cost = await held.structure.cost(held.parameters);
    expect(cost).toBe(nested.cost([3]));
    expect(cost).toBe(layoutCost(wholeLayout({ nIn: N, nOut: M }), [3]));
    expect(cost).toBeLessThan(3 * (M + N));
    tf.dispose({ ...held.parameters });
    expect(liveTensors()).toEqual(before);
    tf.dispose(parameters);
  });

  test("whose corners are zero keeps fewer ranks for the same cost, without cancellation", async () => {
    const edge = (i: number, length: number) => i === 0 || i === length - 1;
    const left = without(random(3, M, RANK), (row, k) => k >= 3 && edge(row, M));
    const right = without(random(4, RANK, N), (k, column) => k < 3 && edge(column, N));
    const parameters = wholeBlocks(left, right);
    const nested = await opened(parameters);
    const held = await nested.cut([RANK]);
    expect(await held.structure.cost(held.parameters)).toBeLessThanOrEqual(nested.cost([RANK]));
    const kept = 4;
    const expected = Float64Array.from({ length: M * N }, (_, i) => {
      const [row, column] = [Math.floor(i / N), i % N];
      const terms = Array.from(
        { length: kept },
        (_, k) => (left.values[row * RANK + k] as number) * (right.values[k * N + column] as number),
      );
      return terms.reduce((sum, term) => sum + term, 0);
    });
    const dense = held.structure.dense(held.parameters);
    expectClose(await read(dense), expected, { tolerance: 1e-4 });
    tf.dispose([dense, { ...held.parameters }, parameters]);
  });
});

test("blocks that are not those of tiles with the ranks of a record are refused", async () => {
  const parameters = wholeBlocks(random(1, M, RANK), random(2, RANK, N));
  await expect(opened(parameters, [[3], [4]])).rejects.toThrow("has 5 blocks, its sizes have 4 ranks");
  await expect(
    opened(parameters, [
      [1, 0],
      [3, 2],
    ]),
  ).resolves.toBeDefined();
  const { values_in, values_out } = parameters;
  const spans = tf.tensor2d([0, 0, 0, 0, 0, N, N, N, N, 9, 0, 0, 0, 0, 0, M, M, M, M, M], [4, RANK], "int32");
  await expect(opened({ spans, values_in, values_out })).rejects.toThrow(
    "block 4 must have the spans of block 0, with which it makes tile 0",
  );
  tf.dispose([parameters, spans]);
});
