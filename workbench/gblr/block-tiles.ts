// How the product with a packed matrix is divided into tiles (engine/ops/gblr/tiles.ts): blocks with similar spans, which
// get one interval of inputs and one of outputs. Both factors of y = (x Vᵀ) U are then a few small dense matrices, which
// libraries multiply by at full speed, above all on GPUs. This file uses no tensors.

import type { BlockSpans } from "./panels.ts";
import type { Span } from "./widths.ts";

/** The matrices of a factor. */
export interface TilePlan {
  /** triples: first index of the interval, its length, number of blocks; blocks in the order of the factors */
  tiles: number[];
  /** for each value of the matrices, its index in the packed values, or their number for a zero */
  index: Int32Array;
}

/** The plans of both factors of a packed matrix. */
export interface TilePlans {
  /** Vᵀ: matrices (inputs, blocks) */
  input: TilePlan;
  /** U: matrices (blocks, outputs) */
  output: TilePlan;
  /** multiply-adds per row of the tiles, over those of the blocks */
  padding: number;
}

/** An interval of one side that is not cyclic. */
interface Interval {
  start: number;
  end: number;
}

interface Tile {
  blocks: number[];
  input: Interval;
  output: Interval;
}

/** Multiply-adds of a row that a tile may save by its own intervals before it pays, as a share of those of dense. */
const TILE_PRICE = 1 / 64;

/** Sorts the blocks of a packed matrix, of which there is at least one, into tiles. */
export function tilesOf(spans: BlockSpans, { nIn, nOut }: { nIn: number; nOut: number }): TilePlans {
  const alike = tilesOfEqualBlocks(spans, { nIn, nOut });
  const tiles = merged(alike, TILE_PRICE * nIn * nOut);
  const orders = [tiles.toSorted(bySides("input", "output")), tiles.toSorted(bySides("output", "input"))];
  const [order] = orders.sort((a, b) => matricesIn(a) - matricesIn(b)) as [Tile[]];
  const input = planOf(order, { side: "input", spans: spans.input, n: nIn });
  const output = planOf(order, { side: "output", spans: spans.output, n: nOut });
  const held = input.index.length + output.index.length;
  return { input, output, padding: held / (valuesOf(spans.input) + valuesOf(spans.output)) };
}

const valuesOf = (spans: readonly Span[]): number => spans.reduce((sum, { length }) => sum + length, 0);

/** A span that goes past the end takes the whole side. */
const intervalOf = ({ start, length }: Span, n: number): Interval =>
  start + length <= n ? { start, end: start + length } : { start: 0, end: n };

const lengthOf = ({ start, end }: Interval): number => end - start;

const union = (a: Interval, b: Interval): Interval => ({
  start: Math.min(a.start, b.start),
  end: Math.max(a.end, b.end),
});

function tilesOfEqualBlocks({ input, output }: BlockSpans, { nIn, nOut }: { nIn: number; nOut: number }): Tile[] {
  const tiles = new Map<string, Tile>();
  for (const [block, span] of input.entries()) {
    const own = { input: intervalOf(span, nIn), output: intervalOf(output[block] as Span, nOut) };
    const key = [own.input.start, own.input.end, own.output.start, own.output.end].join();
    const tile = tiles.get(key);
    if (tile) tile.blocks.push(block);
    else tiles.set(key, { blocks: [block], ...own });
  }
  return [...tiles.values()];
}

/** Merges the two tiles that pad least, again and again, as long as they pad less than the price of a tile. */
function merged(tiles: readonly Tile[], price: number): Tile[] {
  const list = new TileList(tiles);
  for (;;) {
    const pair = list.closest(price);
    if (!pair) return list.tiles;
    list.merge(...pair);
  }
}

/** Numbers of a tile in `TileList`. */
const NUMBERS = 6;

/** Tiles with the nearest other one of each. Intervals are in one array of numbers, as thousands of tiles are compared. */
class TileList {
  readonly tiles: Tile[];
  /** of each tile: first input, end of inputs, first output, end of outputs, number of blocks, multiply-adds of a row */
  private readonly numbers: Float64Array;
  private readonly nearest: Int32Array;
  /** multiply-adds that a tile has more together with its nearest one */
  private readonly padding: Float64Array;

  constructor(tiles: readonly Tile[]) {
    this.tiles = [...tiles];
    this.numbers = new Float64Array(NUMBERS * tiles.length);
    this.nearest = new Int32Array(tiles.length);
    this.padding = new Float64Array(tiles.length);
    for (const at of tiles.keys()) this.note(at);
    for (const at of tiles.keys()) this.findNearest(at);
  }

  /** The two tiles that pad least together; undefined if that is more than the price, or there is only one tile. */
  closest(price: number): [number, number] | undefined {
    let best = 0;
    for (let at = 1; at < this.tiles.length; at++) {
      if ((this.padding[at] as number) < (this.padding[best] as number)) best = at;
    }
    return (this.padding[best] as number) <= price ? [best, this.nearest[best] as number] : undefined;
  }

  /** The merged tile takes the first place of the two, and the last tile the other one. */
  merge(a: number, b: number): void {
    const [place, freed] = [Math.min(a, b), Math.max(a, b)];
    const [one, other] = [this.tiles[a] as Tile, this.tiles[b] as Tile];
    this.tiles[place] = {
      blocks: [...one.blocks, ...other.blocks],
      input: union(one.input, other.input),
      output: union(one.output, other.output),
    };
    const last = this.tiles.length - 1;
    this.tiles[freed] = this.tiles[last] as Tile;
    this.tiles.pop();
    this.note(place);
    if (freed < last) this.note(freed);
    for (let at = 0; at < last; at++) {
      const found = this.nearest[at] as number;
      const isStale = found === place || found === freed || found === last || at === place || at === freed;
      if (isStale) this.findNearest(at);
      else if (this.paddingOf(at, place) < (this.padding[at] as number)) {
        this.nearest[at] = place;
        this.padding[at] = this.paddingOf(at, place);
      }
    }
  }

  private note(at: number): void {
    const { blocks, input, output } = this.tiles[at] as Tile;
    const cost = blocks.length * (lengthOf(input) + lengthOf(output));
    this.numbers.set([input.start, input.end, output.start, output.end, blocks.length, cost], NUMBERS * at);
  }

  private findNearest(at: number): void {
    let [nearest, least] = [-1, Number.POSITIVE_INFINITY];
    for (let other = 0; other < this.tiles.length; other++) {
      if (other === at) continue;
      const padding = this.paddingOf(at, other);
      if (padding < least) [nearest, least] = [other, padding];
    }
    this.nearest[at] = nearest;
    this.padding[at] = least;
  }

  private paddingOf(a: number, b: number): number {
    const { numbers } = this;
    const of = (tile: number, number: number) => numbers[NUMBERS * tile + number] as number;
    const input = Math.max(of(a, 1), of(b, 1)) - Math.min(of(a, 0), of(b, 0));
    const output = Math.max(of(a, 3), of(b, 3)) - Math.min(of(a, 2), of(b, 2));
    return (of(a, 4) + of(b, 4)) * (input + output) - of(a, 5) - of(b, 5);
  }
}

type SideName = "input" | "output";

const bySides = (first: SideName, second: SideName) => (a: Tile, b: Tile) =>
  compareIntervals(a[first], b[first]) || compareIntervals(a[second], b[second]);

const compareIntervals = (a: Interval, b: Interval): number => a.start - b.start || a.end - b.end;

/** Tiles in their order, in groups that follow each other with the same interval: those share a matrix. */
function matricesOf(tiles: readonly Tile[], side: SideName): { interval: Interval; blocks: number[] }[] {
  const matrices: { interval: Interval; blocks: number[] }[] = [];
  for (const tile of tiles) {
    const [interval, last] = [tile[side], matrices.at(-1)];
    if (last && compareIntervals(last.interval, interval) === 0) last.blocks.push(...tile.blocks);
    else matrices.push({ interval, blocks: [...tile.blocks] });
  }
  return matrices;
}

const matricesIn = (tiles: readonly Tile[]): number =>
  matricesOf(tiles, "input").length + matricesOf(tiles, "output").length;

function planOf(
  order: readonly Tile[],
  { side, spans, n }: { side: SideName; spans: readonly Span[]; n: number },
): TilePlan {
  const matrices = matricesOf(order, side);
  const tiles = matrices.flatMap(({ interval, blocks }) => [interval.start, lengthOf(interval), blocks.length]);
  const first = new Int32Array(spans.length);
  let values = 0;
  for (const [block, { length }] of spans.entries()) {
    first[block] = values;
    values += length;
  }
  const size = matrices.reduce((sum, { interval, blocks }) => sum + lengthOf(interval) * blocks.length, 0);
  const index = new Int32Array(size).fill(values);
  let begin = 0;
  for (const { interval, blocks } of matrices) {
    const [rowStep, columnStep] = side === "input" ? [blocks.length, 1] : [1, lengthOf(interval)];
    for (const [column, block] of blocks.entries()) {
      const { start, length } = spans[block] as Span;
      for (let i = 0; i < length; i++) {
        const row = ((start + i) % n) - interval.start;
        index[begin + row * rowStep + column * columnStep] = (first[block] as number) + i;
      }
    }
    begin += lengthOf(interval) * blocks.length;
  }
  return { tiles, index };
}
