// Shifts the widths of all layers down by one amount so that their rounded cost fits a limit, as closely as whole
// samples allow. Numbers in, numbers out: no tensors, no schedule.

import { expectSetting } from "../../engine/ops/operands.ts";
import { type BlockWidths, blockWidths, costAfter, type LayerWidths, splitByLayer } from "./block-widths.ts";
import { giveBack } from "./give-back.ts";

export interface FittedWidths {
  /** of each layer, (2, K) row by row, none larger than before */
  widths: Float32Array[];
  /** what a width lost whose samples cost one multiply-add each; 0 when the cost was within the limit already */
  shift: number;
  /** multiply-adds of the rounded widths, at most the limit */
  cost: number;
}

/** Float32 widths lie 2^-24 apart just below 1. */
const RESOLUTION = 2 ** -26;

/**
 * w ← max(0, w - s c), c the multiply-adds that a sample of the block costs, s the smallest shift (found by bisection)
 * with cost(w) <= limit. Cost falls in steps, so s may fall short of the limit by several blocks that round alike;
 * samples are then given back one by one, those first that the next smaller shift would have kept, while they fit.
 * So the result is within one sample's cost of the limit, unless all that could be given back are whole blocks
 * costing more than what is left. Widths never grow. Deterministic.
 * @param limit multiply-adds, at least 0
 * @throws ShapeError when the limit is not a number of at least 0
 */
export function fitWidths(layers: readonly LayerWidths[], limit: number): FittedWidths {
  expectSetting("fitWidths", { limit }, "a number of at least 0", limit >= 0);
  const blocks = blockWidths(layers);
  const before = costAfter(blocks, 0);
  if (before <= limit) {
    return { widths: splitByLayer(blocks, layers), shift: 0, cost: before };
  }
  const shift = smallestShift(blocks, limit);
  const { width, cost } = giveBack(blocks, { shift, limit });
  return { widths: splitByLayer({ ...blocks, width }, layers), shift, cost };
}

function smallestShift(blocks: BlockWidths, limit: number): number {
  let [low, high] = [0, 2 ** -12];
  while (costAfter(blocks, high) > limit) {
    [low, high] = [high, 2 * high];
  }
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
