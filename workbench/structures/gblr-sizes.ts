// GBLR matrices of several sizes. The parameters are the blocks of nested tiles (gblr/tiles/nested.ts): the blocks of a tile
// cover it whole, and those of the smallest size come first. The matrix of a size is a sum of blocks. A cut writes the
// same sum with staggered spans (gblr/tiles/elimination.ts), which takes fewer numbers.

import { type Tensor, type Tensor1D, type Tensor2D, tensor, tensor1d, tidy } from "@tensorflow/tfjs-core";
import { Matrix } from "ml-matrix";
import { ShapeError } from "../engine/core/errors.ts";
import { type Block, balanced, type TileFactors } from "../gblr/tiles/block.ts";
import { blocksOf } from "../gblr/tiles/elimination.ts";
import type { Factors } from "../gblr/tiles/joint-fit.ts";
import { type Layout, layoutCost, type Tile } from "../gblr/tiles/layout.ts";
import { lengthOf, type Range } from "../gblr/tiles/metric.ts";
import { searchNested } from "../gblr/tiles/nested.ts";
import { parametersOf } from "../gblr/tiles/realize.ts";
import type { MatrixSize } from "./budget.ts";
import { layerErrors } from "./layer-errors.ts";
import {
  eventLoopTurn,
  expectCovariance,
  type HeldMatrix,
  type NestedMatrix,
  type NestedStart,
  type SizeRanks,
  type Structure,
} from "./structure.ts";

/** Largest change of the matrix, in the Frobenius norm, by the rounding of staggered blocks. */
const MOST_CHANGE = 2e-3;

/** Initialization `search` for several sizes, in the metric of outputs. */
export const nestedSearch: NestedStart = async function* (weight, { layer, covariance, signal, allowed }) {
  const known = expectCovariance(layer, covariance, "search");
  const { name, nIn, nOut } = layer;
  for await (const event of searchNested(weight, known, { allowed })) {
    if (event.type === "found") {
      const { layout, ranks } = event;
      const factors = await Promise.all(event.factors.map((own) => own && hostFactors(own)));
      const cost = layoutCost(layout, ranks.at(-1) as readonly number[]);
      return { parameters: { ...wholeBlocks(layout, factors, { nIn, nOut }) }, by: "search", ranks, cost };
    }
    yield { kind: "search", name, step: event.step, steps: event.steps, error: event.error };
    await eventLoopTurn();
    signal?.throwIfAborted();
  }
  // A matrix of zeros has no blocks at any size.
  const none = parametersOf([], { nIn, nOut, blockRank: 1 });
  return { parameters: { ...none }, by: "search", ranks: allowed.map(() => [0]), cost: 0 };
};

async function hostFactors({ left, right }: Factors): Promise<TileFactors> {
  const host = async (matrix: Tensor2D) => Matrix.from1DArray(...matrix.shape, await matrix.data());
  const found = { left: await host(left), right: await host(right) };
  left.dispose();
  right.dispose();
  return found;
}

/** Each rank of each tile as a block that covers the tile. */
function wholeBlocks(layout: Layout, factors: readonly (TileFactors | undefined)[], size: MatrixSize) {
  const blocks = factors.flatMap((own, tile): Block[] => {
    const place = layout.tiles[tile] as Tile;
    return Array.from({ length: own?.left.columns ?? 0 }, (_, rank) =>
      balanced({
        tile,
        ...place,
        left: Float64Array.from((own as TileFactors).left.getColumn(rank)),
        right: Float64Array.from((own as TileFactors).right.getRow(rank)),
      }),
    );
  });
  return parametersOf(blocks, { ...size, blockRank: 1 });
}

/** The values of packed blocks. */
interface HostBlocks extends MatrixSize {
  /** (4, B) row by row */
  spans: Int32Array;
  valuesIn: Float32Array;
  valuesOut: Float32Array;
}

/**
 * Reads packed blocks of several sizes.
 * @param structureOf the packed structure for a number of blocks
 * @throws ShapeError when the blocks are not those of tiles with these ranks
 */
export async function nestedBlocks(
  { spans, values_in, values_out }: Readonly<Record<string, Tensor>>,
  ranks: SizeRanks,
  { structureOf, ...size }: MatrixSize & { structureOf: (blocks: number) => Structure },
): Promise<NestedMatrix> {
  const host: HostBlocks = {
    spans: (await (spans as Tensor).data()) as Int32Array,
    valuesIn: (await (values_in as Tensor).data()) as Float32Array,
    valuesOut: (await (values_out as Tensor).data()) as Float32Array,
    ...size,
  };
  const all = ranks.at(-1) as readonly number[];
  const layout = layoutOf(host, all);
  const tensors = (blocks: readonly Block[]): HeldMatrix => ({
    structure: structureOf(blocks.length),
    parameters: packedTensors(blocks),
  });
  return {
    cost: (own) => layoutCost(layout, own),
    async cut(own) {
      const kept = tensors(keptBlocks(host, layout, { all, own }));
      const staggered = blocksOf(layout, factorsOf(host, layout, { all, own }));
      const found = staggered && tensors(staggered);
      const change = found ? await changeOf(kept, found) : Number.POSITIVE_INFINITY;
      release(kept);
      if (found && change <= MOST_CHANGE) return found;
      if (found) release(found);
      return tensors(stableBlocks(host, layout, { all, own }));
    },
  };
}

interface Ranks {
  /** of each tile, as they are stored */
  all: readonly number[];
  /** of each tile, as they are kept */
  own: readonly number[];
}

/** The blocks that a cut keeps, as they are stored. */
function keptBlocks(host: HostBlocks, layout: Layout, ranks: Ranks): Block[] {
  return factorsOf(host, layout, ranks).flatMap((factors, tile) => {
    const { rows, columns } = layout.tiles[tile] as Tile;
    return Array.from({ length: factors?.left.columns ?? 0 }, (_, rank) => ({
      ...{ tile, rows, columns },
      left: Float64Array.from((factors as TileFactors).left.getColumn(rank)),
      right: Float64Array.from((factors as TileFactors).right.getRow(rank)),
    }));
  });
}

/**
 * Blocks that do not cancel each other, of fewer ranks for the same cost: for tiles whose staggered blocks float32 does not
 * hold well enough.
 */
function stableBlocks(host: HostBlocks, layout: Layout, { all, own }: Ranks): Block[] {
  const stable = { ...layout, stable: true };
  const most = layoutCost(layout, own);
  let kept = own;
  for (let percent = 99; layoutCost(stable, kept) > most; percent--) {
    kept = own.map((rank) => Math.floor((rank * percent) / 100));
  }
  return blocksOf(stable, factorsOf(host, stable, { all, own: kept })) ?? [];
}

/** ‖W − W'‖ / ‖W‖ of two matrices in float32. */
async function changeOf(one: HeldMatrix, other: HeldMatrix): Promise<number> {
  const matrixOf = ({ structure, parameters }: HeldMatrix) => tidy(() => structure.dense(parameters));
  const [before, after] = [matrixOf(one), matrixOf(other)];
  const { error } = await layerErrors(before, after);
  before.dispose();
  after.dispose();
  return error;
}

function release({ parameters }: HeldMatrix): void {
  for (const parameter of Object.values(parameters)) parameter.dispose();
}

/** The tiles of the blocks. A tile without ranks has no place. */
function layoutOf({ spans, nIn, nOut }: HostBlocks, all: readonly number[]): Layout {
  const count = spans.length / 4;
  const wanted = all.reduce((sum, rank) => sum + rank, 0);
  if (wanted !== count) throw new ShapeError(`has ${count} blocks, its sizes have ${wanted} ranks`);
  const range = (row: number, block: number): Range => {
    const start = spans[row * count + block] as number;
    return { start, end: start + (spans[(row + 1) * count + block] as number) };
  };
  let first = 0;
  const tiles = all.map((rank, tile): Tile => {
    const [block, end] = [first, first + rank];
    first = end;
    if (rank === 0) return { rows: { start: 0, end: 0 }, columns: { start: 0, end: 0 } };
    const found = { rows: range(2, block), columns: range(0, block) };
    for (let other = block; other < end; other++) {
      const own = [range(2, other), range(0, other)];
      if (!sameRange(found.rows, own[0]) || !sameRange(found.columns, own[1])) {
        throw new ShapeError(`block ${other} must have the spans of block ${block}, with which it makes tile ${tile}`);
      }
    }
    return found;
  });
  const has = (tile: Tile, side: "rows" | "columns") =>
    sameRange(tile[side], { start: 0, end: side === "rows" ? nOut : nIn });
  const used = tiles.filter((_, tile) => tile > 0 && (all[tile] as number) > 0);
  const divides = used.every((tile) => has(tile, "rows")) ? "columns" : "rows";
  const isWhole = all[0] === 0 || (has(tiles[0] as Tile, "rows") && has(tiles[0] as Tile, "columns"));
  if (!isWhole || (divides === "rows" && !used.every((tile) => has(tile, "columns")))) {
    throw new ShapeError("the first tile must be the whole matrix, and the others must have all rows or all columns");
  }
  return { tiles, divides, shared: 1, quantum: 1, blockRank: 1, stable: false };
}

const sameRange = (a: Range, b: Range | undefined): boolean => a.start === b?.start && a.end === b?.end;

/** The factors of the first ranks of each tile; undefined for a tile of rank 0. */
function factorsOf(host: HostBlocks, { tiles }: Layout, { all, own }: Ranks): (TileFactors | undefined)[] {
  let [atIn, atOut] = [0, 0];
  return tiles.map(({ rows, columns }, tile) => {
    const [a, c] = [lengthOf(rows), lengthOf(columns)];
    const rank = own[tile] as number;
    const right = host.valuesIn.subarray(atIn, atIn + rank * c);
    const left = host.valuesOut.subarray(atOut, atOut + rank * a);
    atIn += (all[tile] as number) * c;
    atOut += (all[tile] as number) * a;
    if (rank === 0) return undefined;
    return {
      left: Matrix.from1DArray(rank, a, left).transpose(),
      right: Matrix.from1DArray(rank, c, right),
    };
  });
}

function packedTensors(blocks: readonly Block[]): HeldMatrix["parameters"] {
  const sides = blocks.map(({ rows, columns }) => [columns.start, lengthOf(columns), rows.start, lengthOf(rows)]);
  const spans = [0, 1, 2, 3].flatMap((side) => sides.map((of) => of[side] as number));
  const values = (of: (block: Block) => Float64Array): Tensor1D =>
    tensor1d(Float32Array.from(blocks.flatMap((block) => Array.from(of(block)))), "float32");
  return {
    spans: tensor(Int32Array.from(spans), [4, blocks.length], "int32"),
    values_in: values(({ right }) => right),
    values_out: values(({ left }) => left),
  };
}
