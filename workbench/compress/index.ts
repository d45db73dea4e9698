// Turns a dense model into a structured one: plan, calibrate, convert, and back. The one door of this folder.

export {
  ALLOCATIONS,
  type Allocation,
  type ConversionPlan,
  type PlannedLayer,
  type PlanTotals,
} from "./conversion-plan.ts";
export { chooseLayers } from "./layer-pattern.ts";
export { type PlanOptions, planConversion } from "./plan.ts";
