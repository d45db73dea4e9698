// How the product with a packed matrix is divided into panels (engine/ops/gblr/panels.ts). The blocks of a packed matrix
// are columns of Vᵀ (n_in, B) and rows of U (B, n_out), and y = (x Vᵀ) U. Each column of both matrices is needed in a few
// intervals of rows only. Columns are taken in chunks of two halves, and each half has the union of its intervals, so
// that the product reads whole vectors; the rest is zeros. Blocks are put into an order in which the blocks of a half
// have similar spans. This file uses no tensors.

import { PANEL_WIDTH } from "../engine/ops/gblr/kernels.ts";
import type { Span } from "./widths.ts";

/** Columns of half of a chunk. */
const HALF = PANEL_WIDTH / 2;

/** The spans of B blocks on the sides of a matrix, cyclic. */
export interface BlockSpans {
  input: readonly Span[];
  output: readonly Span[];
}

/** Where the values of a matrix (rows, columns) are in its panels. */
export interface PanelPlan {
  /**
   * (4, runs) row by row, in the order of chunks: chunk; columns of the chunk, 0 for all, 1 for the first half, 2 for the
   * second half; first row; number of rows
   */
  runs: Int32Array;
  /** for each run, row and column, the index of the value, or the number of values for a zero */
  index: Int32Array;
}

/** The plans of both factors of a packed matrix. */
export interface PackedPlan {
  /** Vᵀ (n_in, B), with indices into `values_in` */
  input: PanelPlan;
  /** U (B, n_out), with indices into `values_out` */
  output: PanelPlan;
  /** multiply-adds per row of the panels, over those of the blocks */
  padding: number;
}

/** An interval of values in a row or a column of a matrix. */
interface Interval {
  /** the row or the column that it lies in */
  line: number;
  start: number;
  length: number;
  /** index of its first value */
  values: number;
}

/** Divides a packed matrix into panels. */
export function panelsOf(spans: BlockSpans, { nIn, nOut }: { nIn: number; nOut: number }): PackedPlan {
  const sides = sidesOf(spans, { nIn, nOut });
  const panels = { input: planOf(sides.input), output: planOf(sides.output) };
  const cost = sides.input.values + sides.output.values;
  return { ...panels, padding: cost === 0 ? 1 : (panels.input.index.length + panels.output.index.length) / cost };
}

/** The padding of `panelsOf`, in less time. */
export function paddingOf(spans: BlockSpans, { nIn, nOut }: { nIn: number; nOut: number }): number {
  const { input, output } = sidesOf(spans, { nIn, nOut });
  const held = (side: Side) => HALF * needsOf(side).reduce((sum, needs) => sum + needs, 0);
  const cost = input.values + output.values;
  return cost === 0 ? 1 : (held(input) + held(output)) / cost;
}

/** A matrix (rows, columns) whose values lie in intervals along its columns or its rows. */
interface Side {
  intervals: readonly Interval[];
  along: "columns" | "rows";
  rows: number;
  columns: number;
  /** number of values */
  values: number;
}

/** Vᵀ and U with their blocks in an order in which panels are small. */
function sidesOf(
  { input, output }: BlockSpans,
  { nIn, nOut }: { nIn: number; nOut: number },
): { input: Side; output: Side } {
  const order = blockOrder(input, nIn);
  const blocks = order.length;
  const place = new Int32Array(blocks);
  for (const [at, block] of order.entries()) place[block] = at;
  const valuesOf = (spans: readonly Span[]) => spans.reduce((sum, { length }) => sum + length, 0);
  const [columns, rows] = [intervalsOf(input, place, nIn), intervalsOf(output, place, nOut)];
  return {
    input: { intervals: columns, along: "columns", rows: nIn, columns: blocks, values: valuesOf(input) },
    output: { intervals: rows, along: "rows", rows: blocks, columns: nOut, values: valuesOf(output) },
  };
}

/**
 * An order of the blocks in which halves of chunks need few rows: the best one of the given order, the order by ends,
 * and a greedy one.
 */
function blockOrder(spans: readonly Span[], n: number): number[] {
  const given = [...spans.keys()];
  const [start, end] = [spans.map((span) => span.start), spans.map((span) => span.start + span.length)];
  const compare = (of: readonly number[], a: number, b: number) => (of[a] as number) - (of[b] as number);
  const byEnds = given.toSorted((a, b) => compare(end, a, b) || compare(start, a, b));
  let best = { order: given, rows: Number.POSITIVE_INFINITY };
  for (const order of [given, byEnds, greedyOrder(spans)]) {
    const rows = rowsNeeded(order, spans, n);
    if (rows < best.rows) best = { order, rows };
  }
  return best.order;
}

/** Rows of all halves of chunks together. */
function rowsNeeded(order: readonly number[], spans: readonly Span[], n: number): number {
  const seenBy = new Int32Array(n).fill(-1);
  let rows = 0;
  for (const [place, block] of order.entries()) {
    const { start, length } = spans[block] as Span;
    const half = Math.floor(place / HALF);
    for (let i = start; i < start + length; i++) {
      const row = i % n;
      if (seenBy[row] !== half) rows++;
      seenBy[row] = half;
    }
  }
  return rows;
}

/** Each half begins with the longest block left and takes those that widen it least, the longest of them first. */
function greedyOrder(spans: readonly Span[]): number[] {
  const left = [...spans.keys()].sort((a, b) => (spans[b] as Span).length - (spans[a] as Span).length);
  const order: number[] = [];
  let [start, end] = [0, 0];
  while (left.length > 0) {
    if (order.length % HALF === 0) [start, end] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    let chosen = { at: 0, length: Number.POSITIVE_INFINITY };
    for (const [at, block] of left.entries()) {
      const span = spans[block] as Span;
      const length = Math.max(end, span.start + span.length) - Math.min(start, span.start);
      if (length < chosen.length) chosen = { at, length };
      // No block can widen the chunk less, and the first block is the longest one.
      if (length === end - start || end < start) break;
    }
    const [block] = left.splice(chosen.at, 1) as [number];
    const span = spans[block] as Span;
    [start, end] = [Math.min(start, span.start), Math.max(end, span.start + span.length)];
    order.push(block);
  }
  return order;
}

/** The straight intervals of spans, whose values follow one after the other. */
function intervalsOf(spans: readonly Span[], lines: Int32Array, n: number): Interval[] {
  const intervals: Interval[] = [];
  let values = 0;
  for (const [block, { start, length }] of spans.entries()) {
    const line = lines[block] as number;
    const straight = Math.min(length, n - start);
    intervals.push({ line, start, length: straight, values });
    if (straight < length) intervals.push({ line, start: 0, length: length - straight, values: values + straight });
    values += length;
  }
  return intervals;
}

/** For each half of a chunk and each row, 1 if the half needs the row: (halves, rows). */
function needsOf({ intervals, along, rows, columns }: Side): Uint8Array {
  const needs = new Uint8Array(2 * Math.ceil(columns / PANEL_WIDTH) * rows);
  for (const { line, start, length } of intervals) {
    if (along === "columns") {
      const first = Math.floor(line / HALF) * rows + start;
      needs.fill(1, first, first + length);
    } else {
      const last = Math.floor((start + length - 1) / HALF);
      for (let half = Math.floor(start / HALF); half <= last; half++) needs[half * rows + line] = 1;
    }
  }
  return needs;
}

function planOf(side: Side): PanelPlan {
  const { runs, places, size } = runsOf(needsOf(side), side.rows);
  const index = new Int32Array(size).fill(side.values);
  for (const { line, start, length, values } of side.intervals) {
    for (let i = 0; i < length; i++) {
      const [row, column] = side.along === "columns" ? [start + i, line] : [line, start + i];
      const place = places[Math.floor(column / HALF) * side.rows + row] as number;
      index[place + (column % HALF)] = values + i;
    }
  }
  return { runs, index };
}

/**
 * The runs of all chunks.
 * @param needs (halves, rows), 1 where a half of a chunk needs a row
 * @returns `places` (halves, rows): where the values of a half in a row begin; `size`: the number of values
 */
function runsOf(needs: Uint8Array, rows: number): { runs: Int32Array; places: Int32Array; size: number } {
  const places = new Int32Array(needs.length);
  const runs: { chunk: number; columns: number; first: number; count: number }[] = [];
  let size = 0;
  for (let chunk = 0; 2 * chunk * rows < needs.length; chunk++) {
    const [first, second] = [2 * chunk * rows, (2 * chunk + 1) * rows];
    let columns: number | undefined;
    for (let row = 0; row < rows; row++) {
      const [inFirst, inSecond] = [needs[first + row] === 1, needs[second + row] === 1];
      const here = columnsOf(inFirst, inSecond);
      if (here !== undefined && here === columns) (runs.at(-1) as { count: number }).count++;
      else if (here !== undefined) runs.push({ chunk, columns: here, first: row, count: 1 });
      columns = here;
      places[first + row] = size;
      if (inFirst) size += HALF;
      places[second + row] = size;
      if (inSecond) size += HALF;
    }
  }
  const part = (of: "chunk" | "columns" | "first" | "count") => runs.map((run) => run[of]);
  const parts = [part("chunk"), part("columns"), part("first"), part("count")];
  return { runs: Int32Array.from(parts.flat()), places, size };
}

/** Which columns of a chunk a row has, as in `runs`; undefined for none. */
function columnsOf(inFirst: boolean, inSecond: boolean): number | undefined {
  if (inFirst && inSecond) return 0;
  if (inFirst) return 1;
  return inSecond ? 2 : undefined;
}
