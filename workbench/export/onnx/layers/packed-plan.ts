// How the product with a packed GBLR matrix is divided into dense products, y = (x Vᵀ) U with V (B, n_in) and U (B,
// n_out). Blocks with similar input spans make a group, which multiplies the inputs that its spans cover together.
// Outputs are divided into intervals, each of which multiplies the blocks that reach it. The rest of these small
// matrices is zeros. This file uses no tensors.

import type { MatrixSize } from "../../../structures/budget.ts";
import {
  type BlockSpans,
  type Group,
  type Interval,
  inputRuns,
  outputRuns,
  partsOf,
  type Range,
} from "./packed-runs.ts";

/** A division of the product. */
export interface PackedPlan {
  groups: readonly Group[];
  intervals: readonly Interval[];
  /** multiply-adds per row, and what else takes as long */
  cost: number;
}

/** What copying an entry takes, in multiply-adds. */
const COPY = 8;
/** The share of the dense product that a further product costs at least, because each needs nodes of its own. */
const NODE_SHARE = 1 / 32;
/** Most bytes of indices, as a share of those of the packed form. */
const MOST_INDICES = 0.05;

/** The division with the lowest cost. One group and one interval are two low-rank factors. */
export function planOf(spans: readonly BlockSpans[], size: MatrixSize): PackedPlan {
  const groups = groupsOf(spans, size);
  const whole = wholePlan(spans, size);
  const plans = [
    whole,
    { ...whole, groups },
    intervalsFor(spans, size, whole.groups),
    intervalsFor(spans, size, groups),
  ].map((plan) => ({ ...plan, cost: costOf(plan, size) }));
  const most = MOST_INDICES * bytesOf(spans);
  return plans
    .filter((plan) => extraBytes(spans, plan, size) <= most)
    .reduce((best, plan) => (plan.cost < best.cost ? plan : best), plans[0] as PackedPlan);
}

/** One group and one interval. */
export function wholePlan(spans: readonly BlockSpans[], size: MatrixSize): PackedPlan {
  const blocks = spans.map((_, block) => block);
  const groups = [{ start: 0, end: size.nIn, blocks }];
  const intervals = [{ start: 0, end: size.nOut, members: blocks }];
  return { groups, intervals, cost: costOf({ groups, intervals }, size) };
}

function costOf({ groups, intervals }: Omit<PackedPlan, "cost">, { nIn, nOut }: MatrixSize): number {
  const node = NODE_SHARE * nIn * nOut;
  const products = [
    ...groups.map(({ start, end, blocks }) => productCost(end - start, blocks.length)),
    ...intervals.map(({ start, end, members }) => productCost(end - start, members.length)),
  ];
  const isOne = groups.length === 1 && intervals.length === 1;
  return isOne ? products.reduce((sum, cost) => sum + cost, 0) : products.reduce((sum, cost) => sum + cost + node, 0);
}

const productCost = (length: number, blocks: number): number => length * blocks + COPY * (length + blocks);

/** Bytes of the packed form without indices of values, which is spans and values. */
const bytesOf = (spans: readonly BlockSpans[]): number =>
  spans.reduce((sum, { input, output }) => sum + 4 * (4 + input.length + output.length), 0);

/** Bytes of indices beyond those of spans: cuts of blocks at the borders of intervals, and members. */
function extraBytes(spans: readonly BlockSpans[], plan: PackedPlan, { nIn, nOut }: MatrixSize): number {
  const runs = inputRuns(spans, plan, nIn).length + outputRuns(spans, plan, nOut).length;
  const members = plan.intervals.length === 1 ? 0 : plan.intervals.reduce((sum, each) => sum + each.members.length, 0);
  return 8 * (runs - 2 * spans.length) + 4 * members;
}

/** Divides the blocks, sorted by their input spans, into the groups with the lowest cost (dynamic programming). */
function groupsOf(spans: readonly BlockSpans[], { nIn, nOut }: MatrixSize): Group[] {
  const order = spans.map((_, block) => block).sort((a, b) => compare(inputOf(spans, a, nIn), inputOf(spans, b, nIn)));
  const node = NODE_SHARE * nIn * nOut;
  const costs = [0];
  const firsts = [0];
  for (let last = 1; last <= order.length; last++) {
    let [best, from] = [Number.POSITIVE_INFINITY, 0];
    let { start, end } = inputOf(spans, order[last - 1] as number, nIn);
    for (let first = last - 1; first >= 0; first--) {
      const own = inputOf(spans, order[first] as number, nIn);
      [start, end] = [Math.min(start, own.start), Math.max(end, own.end)];
      const cost = (costs[first] as number) + productCost(end - start, last - first) + node;
      if (cost < best) [best, from] = [cost, first];
    }
    costs.push(best);
    firsts.push(from);
  }
  const ranges: Group[] = [];
  for (let last = order.length; last > 0; last = firsts[last] as number) {
    const blocks = order.slice(firsts[last], last);
    const own = blocks.map((block) => inputOf(spans, block, nIn));
    ranges.unshift({
      start: Math.min(...own.map(({ start }) => start)),
      end: Math.max(...own.map(({ end }) => end)),
      blocks,
    });
  }
  return ranges;
}

const compare = (a: Range, b: Range): number => a.start - b.start || a.end - b.end;

/** The range of inputs that a block needs: all of them if its span wraps around. */
function inputOf(spans: readonly BlockSpans[], block: number, n: number): Range {
  const { start, length } = (spans[block] as BlockSpans).input;
  return start + length > n ? { start: 0, end: n } : { start, end: start + length };
}

/** Divides the outputs at ends of spans into the intervals with the lowest cost. */
function intervalsFor(
  spans: readonly BlockSpans[],
  size: MatrixSize,
  groups: readonly Group[],
): Omit<PackedPlan, "cost"> {
  const { nIn, nOut } = size;
  const parts = spans.map(({ output }) => partsOf(output, nOut));
  const borders = [...new Set([0, nOut, ...parts.flat().flatMap(({ start, end }) => [start, end])])].sort(
    (a, b) => a - b,
  );
  // Parts of wrapped spans count twice where an interval has both; this is rare.
  const before = (values: number[]) => {
    const sorted = values.sort((a, b) => a - b);
    let at = 0;
    return borders.map((border) => {
      while (at < sorted.length && (sorted[at] as number) < border) at++;
      return at;
    });
  };
  const begun = before(parts.flat().map(({ start }) => start));
  const ended = before(parts.flat().map(({ end }) => end - 1));
  const costs = [0];
  const firsts = [0];
  for (let last = 1; last < borders.length; last++) {
    let [best, from] = [Number.POSITIVE_INFINITY, 0];
    for (let first = last - 1; first >= 0; first--) {
      const reached = (begun[last] as number) - (ended[first] as number);
      const length = (borders[last] as number) - (borders[first] as number);
      const cost = (costs[first] as number) + productCost(length, reached) + NODE_SHARE * nIn * nOut;
      if (cost < best) [best, from] = [cost, first];
    }
    costs.push(best);
    firsts.push(from);
  }
  const order = groups.flatMap(({ blocks }) => blocks);
  const intervals: Interval[] = [];
  for (let last = borders.length - 1; last > 0; last = firsts[last] as number) {
    const [start, end] = [borders[firsts[last] as number] as number, borders[last] as number];
    const members = order.flatMap((block, position) =>
      (parts[block] as Range[]).some((part) => part.start < end && part.end > start) ? [position] : [],
    );
    intervals.unshift({ start, end, members });
  }
  return { groups, intervals };
}
