// Shifts the widths of all layers by one amount so that their cost is within a limit, as close to it as whole samples
// allow. Single samples are given back where the limit lies between two steps of the cost. It is fast enough to count
// thousands of blocks about thirty times per training step. This file uses no tensors.

import { expectSetting } from "../../engine/ops/operands.ts";
import { type BlockSizes, costOf, costOfBlock, isLive, samples } from "../widths.ts";

/** Options of `fitWidths`. */
export interface FitOptions {
  /** multiply-adds, at least 0 */
  limit: number;
  /** widen live blocks if the cost is below the limit. Default false, which leaves such widths unchanged */
  widen?: boolean;
}

/** Widths within the limit, with their cost. */
export interface FittedWidths {
  /** in the order of `sizes` */
  widths: Float32Array;
  /** the shift s of a width whose samples cost one multiply-add each; negative if widths were increased */
  shift: number;
  /** multiply-adds of the rounded widths, at most the limit */
  cost: number;
}

/** The widths to shift, by side. Sides and blocks are numbered as in `BlockSizes`. */
interface Movable extends BlockSizes {
  /** of each side, in [0, 1] */
  width: Float32Array;
  /** of each side: the maximum width */
  most: Float32Array;
  /** of each block: multiply-adds of one sample, the weight of the shift */
  weight: Float64Array;
}

/** Bisection ends here: float32 numbers just below 1 are 2^-24 apart. */
const RESOLUTION = 2 ** -26;
/** A shift that makes all widths 0, because widths are at most 1 and weights at least 1. */
const FARTHEST = 2;

/**
 * Shifts widths to a limit of the cost: w ← clamp(w - s c), where c is the cost of one sample of the block in
 * multiply-adds and s the smallest shift with cost(w) <= limit, found by bisection. The cost falls in steps: it can end
 * several samples below the limit when several widths round alike. Then single samples are given back while they fit,
 * in the order in which smaller shifts would have kept them. The result is within one sample's cost of the limit,
 * unless only whole blocks that cost more than the remainder could be given back. Dead blocks stay dead. The result is
 * deterministic.
 * @param widths of all blocks in the order of `sizes`; not changed
 * @throws ShapeError when the limit is not a number of at least 0
 */
export function fitWidths(sizes: BlockSizes, widths: Float32Array, { limit, widen = false }: FitOptions): FittedWidths {
  expectSetting("fitWidths", { limit }, "a number of at least 0", limit >= 0);
  const clamped = widths.map((width) => Math.min(Math.max(width, 0), 1));
  const before = costOf(sizes, clamped);
  if (before === limit || (before < limit && !widen)) return { widths: clamped, shift: 0, cost: before };
  const blocks = movable(sizes, clamped, before < limit);
  const shift = smallestShift(blocks, limit);
  const { width, cost } = giveBack(blocks, { shift, limit });
  const fitted = new Float32Array(widths.length);
  for (let side = 0; side < width.length; side++) fitted[sizes.place[side] as number] = width[side] as number;
  return { widths: fitted, shift, cost };
}

/** @param widen whether live blocks may grow up to 1; otherwise none may grow */
function movable(sizes: BlockSizes, clamped: Float32Array, widen: boolean): Movable {
  const { count, place, length, rank } = sizes;
  const width = Float32Array.from({ length: 2 * count }, (_, side) => clamped[place[side] as number] as number);
  const most = width.slice();
  const weight = new Float64Array(count);
  for (let k = 0; k < count; k++) {
    const [a, b] = [2 * k, 2 * k + 1].map((side) => samples(width[side] as number, length[side] as number)) as [
      number,
      number,
    ];
    weight[k] = sampleCost(Math.max(2, a), Math.max(2, b), rank[k] as number);
    if (widen && isLive(a, b)) most.fill(1, 2 * k, 2 * k + 2);
  }
  return { ...sizes, width, most, weight };
}

// The rank, or less for a block so small that its dense product is cheaper. Dead blocks have the weight of the smallest
// live block.
const sampleCost = (a: number, b: number, rank: number): number => Math.min(rank, (a * b) / (a + b));

/** The width of a side after a shift; a float32 number in [0, most]. A negative shift increases it. */
function shifted({ width, weight, most }: Movable, side: number, shift: number): number {
  const moved = Math.fround((width[side] as number) - shift * (weight[side >> 1] as number));
  return Math.min(Math.max(0, moved), most[side] as number);
}

/** Multiply-adds of all blocks after a shift. */
function costAfter(blocks: Movable, shift: number): number {
  const { count, length } = blocks;
  let cost = 0;
  for (let k = 0; k < count; k++) {
    const a = samples(shifted(blocks, 2 * k, shift), length[2 * k] as number);
    const b = samples(shifted(blocks, 2 * k + 1, shift), length[2 * k + 1] as number);
    cost += costOfBlock(blocks, k, a, b);
  }
  return cost;
}

/** The smallest shift whose cost is within the limit, found by bisection. */
function smallestShift(blocks: Movable, limit: number): number {
  let [low, high] = bracket(blocks, limit);
  while (high - low > RESOLUTION) {
    const middle = (low + high) / 2;
    if (costAfter(blocks, middle) > limit) low = middle;
    else high = middle;
  }
  return high;
}

/**
 * Two shifts around the limit. The cost after the higher one is within the limit, and the cost after the lower one is
 * above it, if there are such shifts.
 */
function bracket(blocks: Movable, limit: number): [number, number] {
  const exceeds = (shift: number) => costAfter(blocks, shift) > limit;
  const direction = exceeds(0) ? 1 : -1;
  let [near, far] = [0, direction * 2 ** -12];
  while (exceeds(far) === exceeds(0) && Math.abs(far) < FARTHEST) {
    [near, far] = [far, 2 * far];
  }
  return direction > 0 ? [near, far] : [far, near];
}

/** A shift of widths and the limit of their cost. */
interface ShiftAndLimit {
  /** the cost after it is within the limit */
  shift: number;
  /** multiply-adds */
  limit: number;
}

/** Slightly more than half a sample, so that a width rounds up on every engine. */
const ABOVE_TIE = 0.5 + 1 / 64;
/** The smallest distance that is searched: below it, widths that round alike cannot be distinguished. */
const NEAREST = 2 ** -25;

/**
 * Shifts, then gives samples back in the order in which smaller shifts would have kept them: single samples to live
 * blocks, and to blocks that the shift made dead the samples that make them live again. Candidates that no longer fit
 * are skipped. No width ends above its maximum.
 */
function giveBack(blocks: Movable, options: ShiftAndLimit): { width: Float64Array; cost: number } {
  const widths = new ShiftedWidths(blocks, options);
  // Searches growing neighborhoods of the shift. Usually the first one suffices, and it has few candidates.
  for (let reach = NEAREST; widths.hasRoom(); reach *= 16) {
    const given = widths.giveWithin(reach);
    if (reach > 1 && given === 0) break;
  }
  return widths;
}

/** A sample that can be given back, or the samples that make a block live again. */
interface Candidate {
  /** the side, or any side of the block */
  side: number;
  /** how much smaller the shift would have to be to keep it */
  distance: number;
}

/** Widths and cost after the shift, to which samples are given back. */
class ShiftedWidths {
  cost: number;
  readonly width: Float64Array;
  private readonly samples: Float64Array;
  /** lower bound of the cost of a candidate */
  private readonly smallest: number;
  private readonly blocks: Movable;
  private readonly shift: number;
  private readonly limit: number;

  constructor(blocks: Movable, { shift, limit }: ShiftAndLimit) {
    const { count, length, uses } = blocks;
    [this.blocks, this.shift, this.limit] = [blocks, shift, limit];
    this.width = Float64Array.from({ length: 2 * count }, (_, side) => shifted(blocks, side, shift));
    this.samples = this.width.map((width, side) => samples(width, length[side] as number));
    this.cost = costAfter(blocks, shift);
    this.smallest = uses.reduce((least, each) => Math.min(least, each), Number.POSITIVE_INFINITY);
  }

  hasRoom(): boolean {
    return this.limit - this.cost >= this.smallest;
  }

  /** Gives back what a shift smaller by up to `reach` would keep, nearest first. Returns how many candidates fitted. */
  giveWithin(reach: number): number {
    const candidates = this.candidates(reach).sort((a, b) => a.distance - b.distance || a.side - b.side);
    return candidates.filter(({ side }) => this.hasRoom() && this.give(side)).length;
  }

  private candidates(reach: number): Candidate[] {
    const found: Candidate[] = [];
    for (let k = 0; k < this.blocks.count; k++) {
      const [a, b] = [2 * k, 2 * k + 1];
      const sides = this.isLive(k) ? [[a], [b]] : [[a, b]];
      for (const needed of sides) {
        const distance = Math.max(...needed.map((side) => this.distance(side)));
        if (distance <= reach) {
          found.push({ side: needed[0] as number, distance });
        }
      }
    }
    return found;
  }

  private isLive(k: number): boolean {
    return isLive(this.samples[2 * k] as number, this.samples[2 * k + 1] as number);
  }

  /** Samples of the side after giving back: one more, or the two that a live block needs. */
  private next(side: number): number {
    const now = this.samples[side] as number;
    return this.isLive(side >> 1) ? now + 1 : Math.max(now, 2);
  }

  private distance(side: number): number {
    const { width, most, length, weight } = this.blocks;
    const [before, n] = [width[side] as number, length[side] as number];
    const next = this.next(side);
    if (next > samples(most[side] as number, n)) {
      return Number.POSITIVE_INFINITY;
    }
    const shiftThatKeeps = (before - (next - 0.5) / n) / (weight[side >> 1] as number);
    return next === this.samples[side] ? 0 : Math.max(0, this.shift - shiftThatKeeps);
  }

  /** Returns whether the candidate fitted. */
  private give(side: number): boolean {
    const k = side >> 1;
    const sides = this.isLive(k) ? [side] : [2 * k, 2 * k + 1];
    const after = [this.samples[2 * k] as number, this.samples[2 * k + 1] as number] as [number, number];
    const now = costOfBlock(this.blocks, k, ...after);
    for (const each of sides) {
      after[each % 2] = this.next(each);
    }
    const extra = costOfBlock(this.blocks, k, ...after) - now;
    if (this.cost + extra > this.limit) {
      return false;
    }
    this.cost += extra;
    for (const each of sides) {
      this.set(each, after[each % 2] as number);
    }
    return true;
  }

  private set(side: number, samples: number): void {
    if (samples === this.samples[side]) {
      return;
    }
    const { most, length } = this.blocks;
    const justEnough = Math.fround((samples - 1 + ABOVE_TIE) / (length[side] as number));
    this.width[side] = Math.min(most[side] as number, justEnough);
    this.samples[side] = samples;
  }
}
