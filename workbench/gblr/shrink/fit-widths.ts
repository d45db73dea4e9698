// Shifts the widths of all layers by one amount so that their rounded cost fits a limit, as closely as whole samples
// allow. Numbers in, numbers out: no tensors, no schedule.

import { expectSetting } from "../../engine/ops/operands.ts";
import {
  type BlockWidths,
  blockWidths,
  costAfter,
  freeToWiden,
  type LayerWidths,
  splitByLayer,
} from "./block-widths.ts";
import { giveBack } from "./give-back.ts";

export interface FitOptions {
  /** multiply-adds, at least 0 */
  limit: number;
  /** widen live blocks where the cost is below the limit. Default false: such widths stay */
  widen?: boolean;
}

export interface FittedWidths {
  /** of each layer, (2, K) row by row */
  widths: Float32Array[];
  /** what a width lost whose samples cost one multiply-add each; negative where it gained */
  shift: number;
  /** multiply-adds of the rounded widths, at most the limit */
  cost: number;
}

/** Float32 widths lie 2^-24 apart just below 1. */
const RESOLUTION = 2 ** -26;
/** A shift that leaves nothing to shift: widths are at most 1, weights at least 1. */
const FARTHEST = 2;

/**
 * w ← clamp(w - s c), c the multiply-adds that a sample of the block costs, s the smallest shift (found by bisection)
 * with cost(w) <= limit. Cost falls in steps, so that s can fall short of the limit by several blocks that round alike;
 * single samples are then given back, those first that the next smaller shift would have kept, while they fit.
 * So the result is within one sample's cost of the limit, unless all that could be given back are whole blocks that cost
 * more than what is left. A block dead before never comes to life here. Deterministic.
 * @throws ShapeError when the limit is not a number of at least 0
 */
export function fitWidths(layers: readonly LayerWidths[], { limit, widen = false }: FitOptions): FittedWidths {
  expectSetting("fitWidths", { limit }, "a number of at least 0", limit >= 0);
  const clamped = blockWidths(layers);
  const before = costAfter(clamped, 0);
  if (before === limit || (before < limit && !widen)) {
    return { widths: splitByLayer(clamped, layers), shift: 0, cost: before };
  }
  const blocks = before < limit ? freeToWiden(clamped) : clamped;
  const shift = smallestShift(blocks, limit);
  const { width, cost } = giveBack(blocks, { shift, limit });
  return { widths: splitByLayer({ ...blocks, width }, layers), shift, cost };
}

function smallestShift(blocks: BlockWidths, limit: number): number {
  let [low, high] = bracket(blocks, limit);
  while (high - low > RESOLUTION) {
    const middle = (low + high) / 2;
    if (costAfter(blocks, middle) > limit) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return high;
}

/** Two shifts, the lower one exceeding the limit if any does, the higher one not. */
function bracket(blocks: BlockWidths, limit: number): [number, number] {
  const exceeds = (shift: number) => costAfter(blocks, shift) > limit;
  const direction = exceeds(0) ? 1 : -1;
  let [near, far] = [0, direction * 2 ** -12];
  while (exceeds(far) === exceeds(0) && Math.abs(far) < FARTHEST) {
    [near, far] = [far, 2 * far];
  }
  return direction > 0 ? [near, far] : [far, near];
}
