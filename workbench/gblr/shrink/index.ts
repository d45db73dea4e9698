// The shrink rules, one import for all.

export { type AdaptiveSoftshrinkOptions, adaptiveSoftshrink, adaptiveThreshold } from "./adaptive-softshrink.ts";
export type { LayerWidths } from "./block-widths.ts";
export { type BudgetSchedule, budgetAt } from "./budget-schedule.ts";
export { type BudgetLayer, type BudgetShrinkOptions, budgetShrink } from "./budget-shrink.ts";
export { type FitOptions, type FittedWidths, fitWidths } from "./fit-widths.ts";
export { type MeanShrinkOptions, meanShrink } from "./mean-shrink.ts";
export { meanWidth } from "./mean-width.ts";
export type { ShrinkLayer, ShrinkReport, ShrinkRule, ShrinkState, ShrinkStep } from "./rule.ts";
export type { WidthBounds } from "./shift-widths.ts";
export { type SoftshrinkOptions, softshrink } from "./softshrink.ts";
export { type TargetedSoftshrinkOptions, targetedSoftshrink, targetedThreshold } from "./targeted-softshrink.ts";
