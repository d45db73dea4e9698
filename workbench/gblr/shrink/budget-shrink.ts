// BudgetShrink: puts the rounded cost of all layers on a schedule that ends at the relative cost asked for. Ours, not the
// paper's: no threshold or target width to search for, and the count itself is held, not the mean width.

import { concat, reshape, type Tensor, tensor2d, tidy } from "@tensorflow/tfjs-core";
import { expectSetting } from "../../engine/ops/operands.ts";
import { blockWidths, costAfter, denseCost, type LayerWidths } from "./block-widths.ts";
import { type BudgetSchedule, budgetAt, expectBudgetSchedule } from "./budget-schedule.ts";
import { fitWidths } from "./fit-widths.ts";
import { expectRate, isDue, NOT_DUE, type RateOptions, type ShrinkLayer, type ShrinkRule } from "./rule.ts";
import { wrapLocations } from "./shift-widths.ts";

/** A layer's structure and what its blocks cost. */
export interface BudgetLayer extends ShrinkLayer, Omit<LayerWidths, "widths"> {}

export interface BudgetShrinkOptions extends BudgetSchedule, RateOptions {}

/**
 * Puts the cost where budgetAt(schedule) is, starting from the cost found at the first application: what exceeds it, the
 * optimizer's last step included, is taken off by fitWidths, one shift of all widths weighted by what their samples
 * cost. A cost below the schedule may rise to it by training, but not fall: what the optimizer's step took since the last
 * application is spread over the live blocks again, so that the run ends at the target and not by chance below it.
 *
 * Each application that is due waits for one read of all widths and writes them back; between the call and its end
 * nothing else may change them. State: `from` and `last`, multiply-adds at the outset and now.
 *
 * Why samples and not shares are weighed: a width's gradient grows with n as its cost does, and Adam divides by the
 * gradient's size, so n drops out of the balance between the two; likewise the uses of a layer.
 * @throws ShapeError when a setting is out of range; `apply` rejects with one when there is no layer
 */
export function budgetShrink(options: BudgetShrinkOptions): ShrinkRule<BudgetLayer> {
  const { rate = 1 } = options;
  expectBudgetSchedule("budgetShrink", options);
  expectRate("budgetShrink", rate);
  let costs: { from: number; last: number } | undefined;
  return {
    name: "budget-shrink",
    state: () => ({ ...costs }),
    restore: ({ from, last }) => {
      costs = typeof from === "number" && typeof last === "number" ? { from, last } : undefined;
    },
    async apply(layers, step) {
      if (!isDue(step, rate)) {
        return NOT_DUE;
      }
      expectSetting("budgetShrink", { layers: layers.length }, "at least one", layers.length > 0);
      const dense = denseCost(layers);
      const present = await readWidths(layers);
      const found = costAfter(blockWidths(present), 0);
      const { from, last } = costs ?? { from: found, last: found };
      const allowed = budgetAt({ ...options, target: options.target * dense }, from, step);
      const { widths, cost } = fitWidths(present, { limit: Math.min(allowed, Math.max(found, last)), widen: true });
      writeWidths(layers, widths);
      costs = { from, last: cost };
      return { applied: true, frozen: false, relativeCost: cost / dense };
    },
  };
}

/** All widths in one read. */
async function readWidths(layers: readonly BudgetLayer[]): Promise<LayerWidths[]> {
  const all: Tensor = tidy(() => concat(layers.map(({ widths }) => reshape(widths, [-1]))));
  const values = (await all.data()) as Float32Array;
  all.dispose();
  let start = 0;
  return layers.map(({ widths, nIn, nOut, rank, uses }) => {
    const own = values.subarray(start, start + widths.size);
    start += widths.size;
    return { widths: own, nIn, nOut, ...(rank === undefined ? {} : { rank }), ...(uses === undefined ? {} : { uses }) };
  });
}

function writeWidths(layers: readonly BudgetLayer[], widths: Float32Array[]): void {
  tidy("budgetShrink", () => {
    layers.forEach((layer, i) => {
      layer.widths.assign(tensor2d(widths[i] as Float32Array, layer.widths.shape as [number, number]));
      wrapLocations(layer.locations);
    });
  });
}
