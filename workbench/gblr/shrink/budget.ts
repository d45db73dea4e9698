// The shrink rule `budget-shrink`: the rounded cost of all layers follows a schedule that ends at the requested
// relative cost. This rule is not from the paper. It controls the cost itself instead of the mean width, so no
// threshold or target width has to be found by search.

import { expectSetting } from "../../engine/ops/operands.ts";
import { type BudgetSchedule, budgetAt, expectBudgetSchedule } from "../schedules.ts";
import { costOf, denseCost } from "../widths.ts";
import { fitWidths } from "./fit-widths.ts";
import { type ShrinkRule, wrapped } from "./rule.ts";

/**
 * Keeps the cost at `budgetAt(schedule)`, which starts from the cost at the first application. A cost above it is
 * lowered by `fitWidths`: one shift of all widths, weighted by the cost of their samples. A cost below it may rise by
 * training but does not fall: cost that the optimizer removed since the last application is distributed over the live
 * blocks again, so that the run ends at the target and not below it.
 *
 * The shift is weighted by the cost of a sample, not of a share. A width's gradient grows with n as its cost does, and
 * Adam divides by the gradient's size, so n cancels out. The same holds for the number of uses of a layer.
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
