// BudgetShrink: puts the rounded cost of all layers on a schedule that ends at the relative cost asked for. Not the
// paper's: there is no threshold or target width to search for, and the cost itself is held, not the mean width.

import { expectSetting } from "../../engine/ops/operands.ts";
import { type BudgetSchedule, budgetAt, expectBudgetSchedule } from "../schedules.ts";
import { costOf, denseCost } from "../widths.ts";
import { fitWidths } from "./fit-widths.ts";
import { type ShrinkRule, wrapped } from "./rule.ts";

/**
 * Puts the cost where budgetAt(schedule) is, starting from the cost found at the first application: what exceeds it, the
 * optimizer's last step included, is taken off by fitWidths, one shift of all widths weighted by what their samples
 * cost. A cost below the schedule may rise to it by training, but not fall: what the optimizer's step took since the last
 * application is spread over the live blocks again, so that the run ends at the target and not by chance below it.
 *
 * Samples and not shares are weighed because a width's gradient grows with n as its cost does, and Adam divides by the
 * gradient's size, so that n drops out of the balance between the two; likewise the uses of a layer.
 *
 * State: `from` and `last`, multiply-adds at the first and at the latest application.
 * @throws ShapeError when a setting is out of range; `apply` throws one when there is no layer
 */
export function budgetShrink(schedule: BudgetSchedule): ShrinkRule {
  expectBudgetSchedule("budgetShrink", schedule);
  return {
    name: "budget-shrink",
    usesMean: false,
    apply({ sizes, widths, locations }, step, state) {
      const { layers } = sizes;
      expectSetting("budgetShrink", { layers: layers.length }, "at least one", layers.length > 0);
      const dense = denseCost(layers);
      const clamped = widths.map((width) => Math.min(Math.max(width, 0), 1));
      const found = costOf(sizes, clamped);
      const known = typeof state.from === "number" && typeof state.last === "number";
      const [from, last] = known ? [state.from as number, state.last as number] : [found, found];
      const allowed = budgetAt({ ...schedule, target: schedule.target * dense }, from, step);
      const limit = Math.min(allowed, Math.max(found, last));
      const fitted = fitWidths(sizes, widths, { limit, widen: true });
      return {
        widths: fitted.widths,
        locations: wrapped(locations),
        applied: true,
        frozen: false,
        relativeCost: fitted.cost / dense,
        state: { from, last: fitted.cost },
      };
    },
  };
}
