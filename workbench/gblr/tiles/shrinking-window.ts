// One side of the window of a tile while it is eliminated: which samples may be taken next, and what remains. With a
// quantum q, windows of blocks begin and end at multiples of q, so a window gets shorter only when all q samples at one
// of its ends are taken. Within such a chunk, samples may be taken in any order, and a chunk is finished before the next
// one is begun. Then the window is as short as its layout says, whichever ends were chosen.

import { ceilTo, floorTo, LEAST_WINDOW } from "./layout.ts";
import { lengthOf, type Range } from "./metric.ts";

/** How many samples may be taken from the first and from the last end of a side. */
export interface Ends {
  first: number;
  last: number;
}

/** No limit to the samples at each end. */
export const ANY: Ends = { first: Number.POSITIVE_INFINITY, last: Number.POSITIVE_INFINITY };

type End = keyof Ends;

/** A chunk from which samples are taken. */
interface Chunk {
  at: End;
  range: Range;
  /** samples that are left */
  samples: number[];
}

/** Options of a window that shrinks. */
interface ShrinkingOptions {
  /** how many samples may be taken at each end */
  ends: Ends;
  /** samples of the whole side of the tile */
  side: number;
  quantum: number;
  /** the end whose chunk is begun already */
  begun?: End | undefined;
}

/** A window that shrinks from its ends. */
export class ShrinkingWindow {
  start: number;
  end: number;
  private readonly left: Ends;
  private readonly side: number;
  private readonly quantum: number;
  private open: Chunk | undefined;

  constructor(range: Range, { ends, side, quantum, begun }: ShrinkingOptions) {
    [this.start, this.end, this.side, this.quantum] = [range.start, range.end, side, quantum];
    // The last chunk of a side that is no multiple of the quantum is shorter, so the other end is taken.
    this.left = ends.last === Number.POSITIVE_INFINITY && side % quantum !== 0 ? { ...ends, last: 0 } : { ...ends };
    if (begun && this.left[begun] > 0) this.open = this.chunk(begun);
  }

  get isEmpty(): boolean {
    return this.start >= this.end;
  }

  /** Leaves out zeros at the ends, unless a number of samples is reserved there. */
  trim(isZero: (sample: number) => boolean): void {
    if (this.left.first < Number.POSITIVE_INFINITY) return;
    if (this.open) this.keep(this.open.samples.filter((sample) => !isZero(sample)));
    if (this.open) return;
    while (this.start < this.end && isZero(this.start)) this.start++;
    while (this.start < this.end && isZero(this.end - 1)) this.end--;
  }

  /** The samples that may be taken next. */
  corners(): number[] {
    if (this.open) return this.open.samples;
    return [...new Set(this.choices().flatMap((end) => this.chunk(end).samples))];
  }

  take(sample: number): void {
    this.open ??= this.begin(sample);
    this.left[this.open.at]--;
    this.keep(this.open.samples.filter((other) => other !== sample));
  }

  /** The samples of a block: the window up to multiples of the quantum, and at least the smallest live window. */
  covered(): Range {
    const start = floorTo(this.start, this.quantum);
    const end = Math.min(ceilTo(this.end, this.quantum), this.side);
    const length = Math.max(LEAST_WINDOW, end - start);
    const first = start > 0 ? end - length : start;
    return { start: first, end: first + length };
  }

  /** Values of the window at their places in what is covered; zeros elsewhere. */
  placed(values: Float64Array): Float64Array {
    const covered = this.covered();
    const all = new Float64Array(lengthOf(covered));
    all.set(values, this.start - covered.start);
    return all;
  }

  private begin(sample: number): Chunk {
    const chunks = this.choices().map((end) => this.chunk(end));
    return chunks.find(({ samples }) => samples.includes(sample)) ?? this.chunk("first");
  }

  /** Keeps these samples of the open chunk. The window gets shorter when none is left. */
  private keep(samples: number[]): void {
    const { at, range } = this.open as Chunk;
    this.open = samples.length > 0 ? { at, range, samples } : undefined;
    if (this.open) return;
    if (at === "first") this.start = range.end;
    else this.end = range.start;
  }

  /** Ends at which a chunk may be begun: one that can be finished, if there is one. */
  private choices(): End[] {
    const able = (["first", "last"] as const).filter((end) => this.left[end] > 0);
    const whole = able.filter((end) => {
      const { start, end: stop } = this.chunkRange(end);
      return end === "first" ? stop === this.end || stop % this.quantum === 0 : start % this.quantum === 0;
    });
    return whole.length > 0 ? whole : able.slice(0, 1);
  }

  private chunk(at: End): Chunk {
    const range = this.chunkRange(at);
    return { at, range, samples: Array.from({ length: lengthOf(range) }, (_, i) => range.start + i) };
  }

  /** The samples up to the next multiple of the quantum, as far as they may be taken. */
  private chunkRange(end: End): Range {
    const { start, end: stop, left, quantum } = this;
    if (end === "first") return { start, end: Math.min(floorTo(start, quantum) + quantum, stop, start + left.first) };
    return { start: Math.max(ceilTo(stop, quantum) - quantum, start, stop - left.last), end: stop };
  }
}
