// The cost that --shrink budget aims at: that of the layers it can change, so that the whole plan ends at its budget.

import { describe, expect, test } from "bun:test";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { languageSettings } from "../../workbench/pipeline/domains/language.ts";
import { planVariant, targetOf } from "../../workbench/pipeline/plan.ts";
import { parseVariant } from "../../workbench/pipeline/variants.ts";
import { blocksOf, summaryOf } from "../../workbench/train/index.ts";
import { converted, tinyModel } from "../compress/tiny.ts";

await openEngine({ engine: "cpu" });

const BUDGET = 0.8;

/** The plans of GBLR with global allocation, where layers whose singular values fall slowly stay dense. */
async function planned(given: { budget?: number; startCost?: number } = {}) {
  const settings = languageSettings.parse({ model: "m", dataset: "d", shrink: "budget", budget: BUDGET, ...given });
  const model = tinyModel();
  const plans = await planVariant(model, parseVariant("gblr:svd:global"), { settings, allocation: "global" });
  const dense = plans.start.layers.filter(({ structure }) => structure === "dense");
  expect(dense.length).toBeWithin(1, plans.start.layers.length);
  return { model, plans, dense };
}

describe("where layers stay dense, the target of the others", () => {
  test("is the cost that they have after the conversion", async () => {
    const { model, plans } = await planned();
    await converted(model, plans.start);
    const blocks = blocksOf(model);
    const { relativeCost } = summaryOf((await blocks?.read()) as Parameters<typeof summaryOf>[0]);
    expect(targetOf(plans)).toBeCloseTo(relativeCost, 12);
    expect(relativeCost).toBeLessThan(BUDGET - 0.05);
    model.dispose();
  });

  test("meets the budget with them, also from a higher cost at the start", async () => {
    const { model, plans, dense } = await planned({ startCost: 0.85 });
    const all = plans.start.layers.reduce((sum, layer) => sum + layer.rows * layer.dense, 0);
    const fixed = dense.reduce((sum, layer) => sum + layer.rows * layer.dense, 0);
    const cost = fixed + targetOf(plans) * (all - fixed);
    expect(cost).toBeLessThanOrEqual(BUDGET * all * (1 + 1e-12));
    expect(cost).toBeGreaterThan((BUDGET - 0.02) * all);
    model.dispose();
  });

  test("does not exist if they cost more than the budget", async () => {
    const { model, plans } = await planned({ startCost: 0.9, budget: 0.2 });
    expect(() => targetOf(plans)).toThrow("give a lower --start-cost or --allocate uniform");
    model.dispose();
  });
});
