// Improves an order by a score: the best of several candidates is taken, and units are swapped between its segments
// where they are more like the units of the other segment (Kernighan and Lin 1970). A swap stays if the score gets
// smaller, so that the result is never worse by the score than the units as they are.

import type { OrderScore } from "./orders.ts";
import { seriationWithin } from "./spectral.ts";
import type { Units } from "./units.ts";

/** Segments among which units are swapped. */
export const SEGMENTS = 8;
/** Share of a segment that is swapped at once, at first; a quarter of it where that does not help. */
const FIRST_SHARE = 1 / 8;
/** Attempts for each pair of segments. */
const ATTEMPTS = 2;

export interface SwapOptions {
  /** orders to begin with, besides the present one */
  candidates: readonly Int32Array[];
  score: OrderScore;
}

/** @returns for each new place, the unit */
export async function searchOrder(units: Units, { candidates, score }: SwapOptions): Promise<Int32Array> {
  let best: Int32Array = Int32Array.from({ length: units.size }, (_, i) => i);
  let least = await score(best);
  for (const candidate of candidates) {
    const value = await score(candidate);
    if (value < least) [best, least] = [candidate, value];
  }
  const bounds = boundsOf(units.size, Math.min(SEGMENTS, units.size >> 1));
  for (let first = 0; first < bounds.length; first++) {
    for (let second = first + 1; second < bounds.length; second++) {
      const pair = [bounds[first] as Segment, bounds[second] as Segment] as const;
      for (let attempt = 0, share = FIRST_SHARE; attempt < ATTEMPTS; attempt++, share /= 4) {
        const swapped = afterSwaps(best, { units, pair, share });
        if (!swapped) break;
        const value = await score(swapped);
        if (value >= least) continue;
        [best, least] = [swapped, value];
        break;
      }
    }
  }
  // Swapped units take the places of others. Within its segment, each is put among those that it is like.
  const { affinity: values, size } = units;
  const sorted = bounds.map(([from, to]) => seriationWithin({ values, size }, best.subarray(from, to)));
  const smooth = Int32Array.from(sorted.flatMap((segment) => [...segment]));
  return (await score(smooth)) <= least ? smooth : best;
}

type Segment = readonly [from: number, to: number];

/** The places at which segments of about equal length begin and end. */
export const boundsOf = (size: number, count: number): Segment[] =>
  Array.from({ length: count }, (_, i) => [Math.floor((i * size) / count), Math.floor(((i + 1) * size) / count)]);

interface Swapping {
  units: Units;
  pair: readonly [Segment, Segment];
  /** share of the places of a segment that may be swapped */
  share: number;
}

/** The order after the most promising swaps between two segments; undefined if none is promising. */
function afterSwaps(order: Int32Array, { units, pair, share }: Swapping): Int32Array | undefined {
  const [one, other] = pair.map((segment, i) =>
    gains(order, { units, own: segment, other: pair[1 - i] as Segment }),
  ) as [Gain[], Gain[]];
  const most = Math.max(1, Math.floor(share * Math.min(one.length, other.length)));
  const after = order.slice();
  let count = 0;
  for (; count < most; count++) {
    const [a, b] = [one[count], other[count]];
    if (!a || !b || a.gain + b.gain <= 0) break;
    [after[a.place], after[b.place]] = [order[b.place] as number, order[a.place] as number];
  }
  return count > 0 ? after : undefined;
}

interface Gain {
  place: number;
  /** affinity to the units of the other segment minus that to those of its own */
  gain: number;
}

/** What each unit of a segment would gain in the other one, largest first. */
function gains(
  order: Int32Array,
  { units: { affinity, size }, own, other }: { units: Units; own: Segment; other: Segment },
): Gain[] {
  const towards = (unit: number, [from, to]: Segment): number => {
    let sum = 0;
    for (let place = from; place < to; place++) sum += affinity[unit * size + (order[place] as number)] as number;
    return sum / (to - from);
  };
  return Array.from({ length: own[1] - own[0] }, (_, i) => {
    const place = own[0] + i;
    const unit = order[place] as number;
    return { place, gain: towards(unit, other) - towards(unit, own) };
  }).sort((a, b) => b.gain - a.gain || a.place - b.place);
}
