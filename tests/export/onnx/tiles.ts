// Layouts of blocks as block searches find them: a shared tile with all rows and columns, and tiles of columns or rows.

import * as tf from "@tensorflow/tfjs-core";
import { seededUniform } from "../../../workbench/engine/core/random.ts";
import type { BlockSpans } from "../../../workbench/export/onnx/layers/packed-runs.ts";
import { type Model, replaceLayer } from "../../../workbench/models/index.ts";
import { packedStructure } from "../../../workbench/structures/inference/packed.ts";

const TILES = 6;
const SHARED = 8;
const RANK = 24;

/** Blocks of a tile become shorter by one sample each. */
function tiles(n: number): { start: number; length: number }[] {
  const width = Math.floor(n / TILES);
  return Array.from({ length: TILES * RANK }, (_, i) => ({
    start: Math.floor(i / RANK) * width,
    length: width - Math.min(i % RANK, width - 2),
  }));
}

const all = (n: number) => ({ start: 0, length: n });

/** A shared tile, and one for each sixth of the columns. */
export const columnTiles = ([nIn, nOut]: readonly [number, number]): BlockSpans[] => [
  ...Array.from({ length: SHARED }, () => ({ input: all(nIn), output: all(nOut) })),
  ...tiles(nIn).map((input) => ({ input, output: all(nOut) })),
];

/** A shared tile, and one for each sixth of the rows. */
export const rowTiles = ([nIn, nOut]: readonly [number, number]): BlockSpans[] => [
  ...Array.from({ length: SHARED }, () => ({ input: all(nIn), output: all(nOut) })),
  ...tiles(nOut).map((output) => ({ input: all(nIn), output })),
];

/** Blocks anywhere, some of which wrap around. */
export function scatteredBlocks([nIn, nOut]: readonly [number, number], count: number): BlockSpans[] {
  const uniform = seededUniform(9);
  const span = (n: number) => ({ start: Math.floor(uniform() * n), length: 2 + Math.floor(uniform() * 0.4 * n) });
  return Array.from({ length: count }, () => ({ input: span(nIn), output: span(nOut) }));
}

/** Holds a layer packed, with these blocks and random values. */
export function holdPacked(model: Model, name: string, spans: readonly BlockSpans[]): void {
  const { nIn, nOut } = model.layer(name);
  const row = (side: "input" | "output", part: "start" | "length") => spans.map((each) => each[side][part]);
  const table = [row("input", "start"), row("input", "length"), row("output", "start"), row("output", "length")];
  const values = (lengths: readonly number[], seed: number) =>
    tf.randomNormal([lengths.reduce((sum, length) => sum + length, 0)], 0, 0.1, "float32", seed);
  replaceLayer(model, name, packedStructure({ nIn, nOut, blocks: spans.length }), {
    spans: tf.tensor(table.flat(), [4, spans.length], "int32"),
    values_in: values(row("input", "length"), 1),
    values_out: values(row("output", "length"), 2),
  });
}
