// Gives samples back to widths after a shift, so that a limit that lies between two steps of the cost is used as well as
// whole samples allow. The second half of fitWidths; no tensors.

import { type BlockWidths, blockCost, costAfter, samplesOf, shifted } from "./block-widths.ts";

export interface ShiftAndLimit {
  /** after which the cost is within the limit */
  shift: number;
  /** multiply-adds */
  limit: number;
}

/** Half a sample and a little: where a width is put so that it rounds up on every engine. */
const ABOVE_TIE = 0.5 + 1 / 64;
/** As near as two widths can be that round alike after the shift, and two that do not. */
const NEAREST = 2 ** -25;

/**
 * Shifts, then gives back in the order in which ever smaller shifts would have kept: one sample at a time to live blocks,
 * to dead ones what makes them live, passing over what no longer fits. No width ends above the largest allowed.
 */
export function giveBack(blocks: BlockWidths, options: ShiftAndLimit): { width: Float64Array; cost: number } {
  const widths = new ShiftedWidths(blocks, options);
  // In growing neighborhoods of the shift: mostly the first one does, and few candidates are in it.
  for (let reach = NEAREST; widths.hasRoom(); reach *= 16) {
    const given = widths.giveWithin(reach);
    if (reach > 1 && given === 0) {
      break;
    }
  }
  return widths;
}

/** A sample that can be given back, or the samples that bring a block back to life. */
interface Candidate {
  /** the side, or either side of the block */
  side: number;
  /** how much smaller the shift would have to be */
  distance: number;
}

/** The state after the shift, and samples given back to it. */
class ShiftedWidths {
  cost: number;
  readonly width: Float64Array;
  private readonly samples: Float64Array;
  /** no candidate costs less */
  private readonly smallest: number;
  private readonly blocks: BlockWidths;
  private readonly shift: number;
  private readonly limit: number;

  constructor(blocks: BlockWidths, { shift, limit }: ShiftAndLimit) {
    const { count, length, uses } = blocks;
    [this.blocks, this.shift, this.limit] = [blocks, shift, limit];
    this.width = Float64Array.from({ length: 2 * count }, (_, side) => shifted(blocks, side, shift));
    this.samples = this.width.map((width, side) => samplesOf(width, length[side] as number));
    this.cost = costAfter(blocks, shift);
    this.smallest = uses.reduce((least, each) => Math.min(least, each), Number.POSITIVE_INFINITY);
  }

  hasRoom(): boolean {
    return this.limit - this.cost >= this.smallest;
  }

  /** Gives back what a shift smaller by up to `reach` would keep, nearest first; how many times that fitted. */
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
    return (this.samples[2 * k] as number) > 1 && (this.samples[2 * k + 1] as number) > 1;
  }

  /** Samples that side would have next: one more, or the two that a live block needs. */
  private next(side: number): number {
    const now = this.samples[side] as number;
    return this.isLive(side >> 1) ? now + 1 : Math.max(now, 2);
  }

  private distance(side: number): number {
    const { width, most, length, weight } = this.blocks;
    const [before, n] = [width[side] as number, length[side] as number];
    const next = this.next(side);
    if (next > samplesOf(most[side] as number, n)) {
      return Number.POSITIVE_INFINITY;
    }
    const shiftThatKeeps = (before - (next - 0.5) / n) / (weight[side >> 1] as number);
    return next === this.samples[side] ? 0 : Math.max(0, this.shift - shiftThatKeeps);
  }

  /** Whether it fitted. */
  private give(side: number): boolean {
    const k = side >> 1;
    const sides = this.isLive(k) ? [side] : [2 * k, 2 * k + 1];
    const after = [this.samples[2 * k] as number, this.samples[2 * k + 1] as number] as [number, number];
    const now = blockCost(this.blocks, k, ...after);
    for (const each of sides) {
      after[each % 2] = this.next(each);
    }
    const extra = blockCost(this.blocks, k, ...after) - now;
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
